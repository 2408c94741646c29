//! Real servers, each driven by its own clients from another container, from this host and from another
//! one: nginx and curl, PostgreSQL with psql and pgbench, python's web server.

use std::path::Path;

use e2e::{Case, Outcome, Space, Started, services};
use rustix::process::Signal;

use super::{gateways, networked};

/// Says of a request where it came from.
const NGINX_CONF: &str = "
daemon off;
error_log stderr;
pid /run/nginx.pid;
events {}
http {
    access_log off;
    server {
        listen 80;
        listen [::]:80;
        root /var/www/html;
        location = /who { return 200 $remote_addr; }
    }
}
";

const NGINX_PUBLISHED: &str = "[network]\npublish = [\"0.0.0.0:8080:80\", \"[::]:8080:80\"]\n";

/// The server's own first process, on a copy of the cluster that the package made.
const POSTGRES: &str = "
cp -a /var/lib/postgresql/15/main /srv/main
printf 'host all all all trust\\nlocal all all trust\\n' > /srv/hba
exec /usr/lib/postgresql/15/bin/postgres -D /srv/main \
    -c config_file=/etc/postgresql/15/main/postgresql.conf -c data_directory=/srv/main \
    -c hba_file=/srv/hba -c 'listen_addresses=*' -c ssl=off \
    -c unix_socket_directories=/srv -c external_pid_file=/srv/pid
";

const POSTGRES_PUBLISHED: &str = "[network]\npublish = [\"0.0.0.0:5433:5432\"]\n";

/// Where pgbench lies, which is on no PATH.
const PGBENCH: &str = "/usr/lib/postgresql/15/bin/pgbench";

/// curl waits for a server that does not listen yet.
const CURL: &str = "curl -fsS --max-time 60 --retry 60 --retry-delay 1 --retry-connrefused";

fn tmpfs(at: &str, size: &str) -> String {
    format!("[[mount]]\ntmpfs = {size:?}\nat = {at:?}\n")
}

/// Starts a container in the root with the servers.
fn serve(case: &Case, head: &str, tables: &str) -> Started {
    case.start(&format!("rootfs = {:?}\n{head}\n{tables}", services()))
}

/// What a shell script prints in a container that has nothing but the root with the clients.
fn in_container(case: &Case, script: &str) -> String {
    let script = format!("set -eu\n{script}");
    case.run(&format!(
        "name = \"client\"\nrootfs = {:?}\ncommand = [\"bash\", \"-c\", {script:?}]\n",
        services()
    ))
    .ok()
}

/// What it prints on a host, with the same programs.
fn on(host: &Space, case: &Case, script: &str) -> String {
    let mut command = case.command("/bin/busybox");
    command.arg("chroot").arg(services());
    command.args(["/bin/bash", "-euc", script]);
    host.run(|| Outcome::of(&mut command)).ok()
}

fn nginx(case: &Case) -> Started {
    let conf = case.write("nginx.conf", NGINX_CONF);
    let bind = |path: &Path| {
        format!("[[mount]]\nbind = {path:?}\nat = \"/etc/nginx/nginx.conf\"\nread-only = true\n")
    };
    let tables = [
        bind(&conf),
        tmpfs("/var/lib/nginx", "16MiB"),
        tmpfs("/run", "16MiB"),
        NGINX_PUBLISHED.to_owned(),
    ];
    serve(
        case,
        "name = \"web\"\ncommand = [\"nginx\"]",
        &tables.concat(),
    )
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn nginx_answers_curl_by_name_and_by_its_published_port_and_sees_who_asks() {
    networked(|case, world| {
        let web = nginx(case);
        let page = on(
            &world.host,
            case,
            &format!(
                "{CURL} http://127.0.0.1:8080/index.nginx-debian.html | grep -o '<title>.*</title>'"
            ),
        );
        assert_eq!(page, "<title>Welcome to nginx!</title>\n");
        let [v4, v6] = gateways(world, "ctr0");
        let ask = |urls: &[&str]| {
            let ask = |url: &&str| format!("{CURL} -g {url}/who; echo\n");
            urls.iter().map(ask).collect::<String>()
        };
        // Two containers of one bridge see each other; one that comes back by the host is the host.
        let script = "hostname -I\n".to_owned()
            + &ask(&[
                "-4 http://web",
                "-6 http://web",
                "http://192.0.2.1:8080",
                "http://[2001:db8::1]:8080",
            ]);
        let said = in_container(case, &script);
        let mut lines = said.lines();
        let own: Vec<&str> = lines.next().expect("its addresses").split(' ').collect();
        let (own4, own6) = (own[0], own[1]);
        assert_eq!(
            lines.collect::<Vec<_>>(),
            [own4, own6, &v4.to_string(), &v6.to_string()],
            "{said}"
        );
        let said = on(
            &world.peer,
            case,
            &ask(&["http://192.0.2.1:8080", "http://[2001:db8::1]:8080"]),
        );
        assert_eq!(said, "192.0.2.2\n2001:db8::2\n");
        web.signal(Signal::TERM);
        web.end().expect(0);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn postgresql_serves_psql_and_pgbench_by_name_and_by_its_published_port() {
    networked(|case, world| {
        let tables = [
            tmpfs("/srv", "256MiB"),
            tmpfs("/run", "16MiB"),
            POSTGRES_PUBLISHED.to_owned(),
        ];
        let head = format!(
            "name = \"db\"\nuser = \"postgres\"\ncommand = [\"sh\", \"-euc\", {POSTGRES:?}]"
        );
        let db = serve(case, &head, &tables.concat());
        let done = "grep -o 'actually processed: .*'";
        let said = in_container(
            case,
            &format!(
                "export PGUSER=postgres
                 timeout 120 sh -c 'until pg_isready -q -h db; do sleep 0.2; done'
                 psql -h db -Atc 'select 6 * 7'
                 {PGBENCH} -h db -i -q 2> /dev/null
                 {PGBENCH} -h db -c 4 -t 10 2> /dev/null | {done}
                 {PGBENCH} -h 192.0.2.1 -p 5433 -n -C -S -c 2 -t 10 2> /dev/null | {done}
                 psql -h 192.0.2.1 -p 5433 -Atc 'select inet_client_addr()'"
            ),
        );
        let [v4, _] = gateways(world, "ctr0");
        let expected = [
            "42",
            "actually processed: 40/40",
            "actually processed: 20/20",
        ];
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[..3], expected, "{said}");
        assert_eq!(lines[3], v4.to_string(), "{said}");
        let said = on(
            &world.peer,
            case,
            "psql -U postgres -h 192.0.2.1 -p 5433 -Atc \
             'select count(*), (select inet_client_addr()) from pgbench_history' postgres",
        );
        assert_eq!(said, "40|192.0.2.2\n");
        db.signal(Signal::TERM);
        db.end().expect(0);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn pythons_web_server_is_published_on_this_host_as_in_the_example() {
    networked(|case, world| {
        // The example's own lines, but for the root: this host has no python.
        let example = include_str!("../../../../../examples/web.toml");
        let site = case.mkdir("site");
        case.write("site/page", "served\n");
        let manifest = example
            .replace("\"host\"", &format!("{:?}", services()))
            .replace("at        = \"/site\"", "at        = \"/srv\"")
            .replace("\"/site\"", "\"/srv\"")
            .replace("\".\"", &format!("{site:?}"));
        assert_ne!(manifest, example);
        let web = case.start(&manifest);
        let said = on(
            &world.host,
            case,
            &format!("for at in 127.0.0.1 localhost; do {CURL} http://$at:8080/page; done"),
        );
        assert_eq!(said, "served\n".repeat(2));
        web.signal(Signal::TERM);
        web.end().expect(128 + 15);
    });
}
