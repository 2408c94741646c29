//! Instructions, and what they make of a configuration.

use super::*;

fn changed(before: Value, instructions: &[&str]) -> Value {
    let changes = instructions
        .iter()
        .map(|text| Change::parse(text).expect("a change"));
    let changes: Vec<Change> = changes.flatten().collect();
    let Value::Object(mut config) = before else {
        panic!("an object");
    };
    apply(&mut config, &changes);
    Value::Object(config)
}

#[test]
fn instructions_change_what_they_name_and_nothing_else() {
    let health = json!({"Test": ["CMD", "true"], "Interval": 30_000_000_000_u64});
    let before = json!({
        "Cmd": ["old"], "Env": ["PATH=/bin", "A=1", "B=2"], "ExposedPorts": null, "Healthcheck": health,
        "WorkingDir": "/srv/", "Labels": {"a": "1", "b": "2"},
    });
    let after = changed(
        before,
        &[
            r#"ENTRYPOINT ["/bin/tini", "--"]"#,
            "env A=3 C=\"d e\" D='$f' E=g\\ h F=\"\\$\\n\"",
            "ENV OLD way  of it",
            "EXPOSE 80 53/UDP 90-92/sctp",
            "LABEL b=3 \"c d\"=4",
            "STOPSIGNAL SIGINT",
            "USER  me:us ",
            "VOLUME [\"/a b\"]",
            "VOLUME /c /d",
            "WORKDIR data",
            "WORKDIR new",
        ],
    );
    let wanted = json!({
        "Entrypoint": ["/bin/tini", "--"],
        "Env": ["PATH=/bin", "A=3", "B=2", "C=d e", "D=$f", "E=g h", "F=$\\n", "OLD=way of it"],
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "90/sctp": {}, "91/sctp": {}, "92/sctp": {}},
        "Labels": {"a": "1", "b": "3", "c d": "4"},
        "StopSignal": "SIGINT", "User": "me:us", "Volumes": {"/a b": {}, "/c": {}, "/d": {}},
        "WorkingDir": "/srv/data/new", "Healthcheck": health,
    });
    assert_eq!(after, wanted);
}

#[test]
fn a_command_is_a_list_or_a_line_for_the_shell() {
    for (text, words) in [
        (r#"CMD ["a", "b c"]"#, json!(["a", "b c"])),
        (
            "CMD echo $HOME 'x",
            json!(["/bin/sh", "-c", "echo $HOME 'x"]),
        ),
        (
            "CMD [ -f x ] && y",
            json!(["/bin/sh", "-c", "[ -f x ] && y"]),
        ),
        ("CMD []", json!([])),
    ] {
        assert_eq!(changed(json!({}), &[text]), json!({ "Cmd": words }));
    }
    let both = ["CMD [\"b\"]", "ENTRYPOINT [\"a\"]"];
    let wanted = json!({"Entrypoint": ["a"], "Cmd": ["b"]});
    assert_eq!(changed(json!({}), &both), wanted);
}

#[test]
fn what_is_spelled_wrongly_is_refused_with_the_rule() {
    for (text, why) in [
        ("", "it is CMD"),
        ("RUN rm -rf /", "it is CMD"),
        ("CMD", "a command"),
        ("CMD ['a', 'b']", "no list in JSON"),
        ("ENTRYPOINT [\"a\", 1]", "no list in JSON"),
        ("ENV", "NAME=VALUE"),
        ("ENV A", "NAME=VALUE"),
        ("ENV A=1 B", "NAME=VALUE"),
        ("ENV =1", "NAME=VALUE"),
        ("ENV PATH=$PATH:/x", "not expanded"),
        ("LABEL a=\"b", "not closed"),
        ("LABEL a=b\\", "backslash"),
        ("EXPOSE", "at least one port"),
        ("EXPOSE 0", "1 to 65535"),
        ("EXPOSE 80/icmp", "tcp, udp or sctp"),
        ("EXPOSE 90-80", "ends before"),
        ("EXPOSE 1-65535", "more than 4096"),
        ("USER a b", "one word"),
        ("STOPSIGNAL", "one word"),
        ("VOLUME", "at least one"),
        ("VOLUME []", "at least one"),
    ] {
        let error = Change::parse(text).expect_err(text).to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}
