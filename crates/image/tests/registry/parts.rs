//! Debian's registry on loopback, and what it needs: certificates, a token server, an image.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

/// `me` and `secret`, as htpasswd(1) writes it.
pub(crate) const HTPASSWD: &str = "me:$2y$04$4/CW2/PDVgjhRzy7PiqbYupStIGdVBBUu96kf86eQRCZCXE.T7YKC";

/// Fails with the way out if a program is not there.
pub(crate) fn need(program: &str, package: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    assert!(
        std::env::split_paths(&path).any(|directory| directory.join(program).is_file()),
        "this test needs {program}: apt-get install -y --no-install-recommends {package}"
    );
}

#[track_caller]
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect(program);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Debian's docker-registry; ends with this.
pub(crate) struct Debian {
    child: Child,
    pub(crate) host: String,
}

impl Debian {
    /// With parts of a configuration: what belongs below `http:`, and what stands beside it.
    pub(crate) fn start(directory: &Path, http: &str, beside: &str) -> Self {
        need("docker-registry", "docker-registry");
        let port = free_port();
        let storage = directory.join(format!("registry-{port}"));
        let config = directory.join(format!("registry-{port}.yml"));
        let text = format!(
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\n\
             storage:\n  filesystem:\n    rootdirectory: {}\n\
             http:\n  addr: 127.0.0.1:{port}\n{http}{beside}",
            storage.display()
        );
        fs::write(&config, text).expect("a configuration");
        let log = fs::File::create(directory.join(format!("registry-{port}.log"))).expect("a log");
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("docker-registry");
        let debian = Self {
            child,
            host: format!("127.0.0.1:{port}"),
        };
        let begun = Instant::now();
        while TcpStream::connect(&debian.host).is_err() {
            let log = directory.join(format!("registry-{port}.log"));
            let log = || fs::read_to_string(&log).unwrap_or_default();
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "docker-registry: {}",
                log()
            );
            thread::sleep(Duration::from_millis(20));
        }
        debian
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    listener.local_addr().expect("an address").port()
}

/// A small image that umoci makes of a directory: an OCI layout with the tag `1`.
pub(crate) fn layout(directory: &Path) -> PathBuf {
    need("skopeo", "skopeo");
    need("umoci", "umoci");
    let tree = directory.join("tree");
    fs::create_dir_all(tree.join("etc")).expect("a directory");
    fs::write(tree.join("etc/motd"), "hello\n".repeat(1000)).expect("a file");
    let layout = directory.join("layout");
    let at = layout.to_str().expect("a path");
    let image = format!("{at}:1");
    run("umoci", &["init", "--layout", at]);
    run("umoci", &["new", "--image", &image]);
    for inner in ["/data", "/srv"] {
        run(
            "umoci",
            &[
                "insert",
                "--rootless",
                "--image",
                &image,
                tree.to_str().expect("a path"),
                inner,
            ],
        );
    }
    let env = "--config.env=GREETING=hello";
    run(
        "umoci",
        &["config", "--image", &image, "--config.cmd=/bin/true", env],
    );
    layout
}

/// An authority, and a certificate of it for 127.0.0.1.
pub(crate) struct Certificates {
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificates {
    pub(crate) fn new(directory: &Path) -> Self {
        let mut params = CertificateParams::new(vec![]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&root_key).expect("an authority");
        let issuer = Issuer::new(params, root_key);
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
        let leaf = params.signed_by(&key, &issuer).expect("a certificate");
        let file = |name: &str, text: String| {
            let path = directory.join(name);
            fs::write(&path, text).expect("a file");
            path
        };
        Self {
            authority: file("authority.crt", root.pem()),
            certificate: file("server.crt", leaf.pem()),
            key: file("server.key", key.serialize_pem()),
        }
    }

    pub(crate) fn http(&self) -> String {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        format!("  tls:\n    certificate: {certificate}\n    key: {key}\n")
    }
}

/// Gives tokens to `me`, and for reading to anybody; remembers what it was asked.
pub(crate) struct TokenServer {
    pub(crate) beside: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl TokenServer {
    pub(crate) fn start(directory: &Path) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["tokens.example".to_owned()]).expect("parameters");
        let certificate = params.self_signed(&key).expect("a certificate");
        let bundle = directory.join("tokens.crt");
        fs::write(&bundle, certificate.pem()).expect("a file");
        let x5c = STANDARD.encode(certificate.der());
        let random = SystemRandom::new();
        let signer = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &key.serialize_der(),
            &random,
        )
        .expect("a key");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let address = listener.local_addr().expect("an address");
        let log = Arc::new(Mutex::new(Vec::new()));
        let seen = log.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                answer(stream, &seen, |claims| {
                    let head = format!(r#"{{"typ":"JWT","alg":"ES256","x5c":["{x5c}"]}}"#);
                    let text = format!(
                        "{}.{}",
                        URL_SAFE_NO_PAD.encode(head),
                        URL_SAFE_NO_PAD.encode(claims)
                    );
                    let signature = signer.sign(&random, text.as_bytes()).expect("a signature");
                    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
                });
            }
        });
        let beside = format!(
            "auth:\n  token:\n    realm: http://{address}/token\n    service: the registry\n    \
             issuer: the issuer\n    rootcertbundle: {}\n",
            bundle.display()
        );
        Self { beside, log }
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.log.lock().expect("the log").clone()
    }
}

fn answer(mut stream: TcpStream, log: &Mutex<Vec<String>>, sign: impl Fn(String) -> String) {
    let mut lines = BufReader::new(stream.try_clone().expect("a handle"))
        .lines()
        .map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let rest: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let me = format!("Basic {}", STANDARD.encode("me:secret"));
    let is_me = rest.iter().any(|line| {
        line.split_once(": ")
            .is_some_and(|(key, value)| key.eq_ignore_ascii_case("authorization") && value == me)
    });
    log.lock()
        .expect("the log")
        .push(format!("{first} {}", if is_me { "me" } else { "anybody" }));
    let query = first
        .split(' ')
        .nth(1)
        .and_then(|path| path.split_once('?'))
        .map_or("", |(_, query)| query);
    let access: Vec<String> = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("scope="))
        .filter_map(|scope| {
            let scope = scope.replace("%3A", ":").replace("%2F", "/");
            let parts: Vec<&str> = scope.split(':').collect();
            let actions = if is_me {
                r#"["pull","push"]"#
            } else {
                r#"["pull"]"#
            };
            Some(format!(
                r#"{{"type":"repository","name":"{}","actions":{actions}}}"#,
                parts.get(1)?
            ))
        })
        .collect();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time")
        .as_secs();
    let token = sign(format!(
        r#"{{"iss":"the issuer","sub":"me","aud":"the registry","exp":{},"nbf":{},"iat":{now},"jti":"1","access":[{}]}}"#,
        now + 300,
        now - 10,
        access.join(",")
    ));
    let body = format!(r#"{{"token":"{token}"}}"#);
    let length = body.len();
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
}
