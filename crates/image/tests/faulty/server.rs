//! A registry that does as a test tells it: raw HTTP/1.1 over a loopback socket.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use image::{Descriptor, Digest, Manifest};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A request, and how many there were for the same thing before.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) range: Option<u64>,
    pub(crate) authorization: Option<String>,
    pub(crate) before: usize,
}

/// What the server does about it.
pub(crate) enum Act {
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// These bytes, and the end of the connection.
    Raw(Vec<u8>),
    /// These bytes, and a reset.
    Reset(Vec<u8>),
    /// These bytes, and then one byte at a time with this pause, without end.
    Drip(Vec<u8>, Duration),
    /// These bytes; the rest when the call has returned, and the end of the connection.
    Wait(Vec<u8>, Box<dyn FnOnce() -> Vec<u8>>),
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn start(act: impl Fn(&Request) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let address = listener.local_addr().expect("an address");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (act, seen) = (Arc::new(act), log.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (act, seen) = (act.clone(), seen.clone());
                thread::spawn(move || serve(stream, &seen, &*act));
            }
        });
        Self { address, log }
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Requests of a method whose path ends so.
    pub(crate) fn count(&self, method: &str, end: &str) -> usize {
        let log = self.log.lock().expect("the log");
        log.iter()
            .filter(|request| request.method == method && request.path.ends_with(end))
            .count()
    }

    pub(crate) fn log(&self) -> Vec<Request> {
        self.log.lock().expect("the log").clone()
    }
}

fn serve(mut stream: TcpStream, log: &Mutex<Vec<Request>>, act: &dyn Fn(&Request) -> Act) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line == "\r\n" {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let mut words = lines[0].split(' ').map(str::to_owned);
    let (method, path) = (
        words.next().expect("a method"),
        words.next().expect("a path"),
    );
    let header = |name: &str| {
        lines[1..].iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    };
    let range = header("range").map(|range| {
        range
            .trim_start_matches("bytes=")
            .trim_end_matches('-')
            .parse()
            .expect("a range")
    });
    let request = {
        let mut log = log.lock().expect("the log");
        let before = log
            .iter()
            .filter(|r: &&Request| r.method == method && r.path == path)
            .count();
        let authorization = header("authorization");
        let request = Request {
            method,
            path,
            range,
            authorization,
            before,
        };
        log.push(request.clone());
        request
    };
    let bytes = match act(&request) {
        Act::Answer(status, headers, body) => answer(&request, status, &headers, &body),
        Act::Raw(bytes) => bytes,
        Act::Reset(bytes) => {
            let _ = stream.write_all(&bytes);
            thread::sleep(Duration::from_millis(50));
            rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("linger");
            return;
        }
        Act::Wait(bytes, rest) => {
            let _ = stream.write_all(&bytes);
            rest()
        }
        Act::Drip(bytes, pause) => {
            let _ = stream.write_all(&bytes);
            loop {
                thread::sleep(pause);
                if stream.write_all(b"x").is_err() {
                    return;
                }
            }
        }
    };
    let _ = stream.write_all(&bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    // What is still unread would turn the end into a reset.
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let _ = reader.read(&mut [0; 4096]);
}

/// How an answer with a body of this length begins.
pub(crate) fn head(length: usize) -> Vec<u8> {
    format!("HTTP/1.1 200 x\r\ncontent-length: {length}\r\n\r\n").into_bytes()
}

fn answer(
    request: &Request,
    status: u16,
    headers: &[(&'static str, String)],
    body: &[u8],
) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "content-length") {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut bytes = (head + "\r\n").into_bytes();
    if request.method != "HEAD" {
        bytes.extend(body);
    }
    bytes
}

/// An image `a/b:1` of some layers, as a well-behaved registry has it.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) manifest: Vec<u8>,
    pub(crate) config: Vec<u8>,
    pub(crate) layers: Vec<Vec<u8>>,
}

impl Image {
    pub(crate) fn new(layers: &[&[u8]]) -> Self {
        let ids: Vec<String> = layers
            .iter()
            .map(|layer| Digest::of(layer).to_string())
            .collect();
        Self::with("amd64", &ids, layers)
    }

    /// For another machine, or with a configuration that says something else of the layers.
    pub(crate) fn with(architecture: &str, ids: &[String], layers: &[&[u8]]) -> Self {
        let config = format!(
            r#"{{"architecture":"{architecture}","os":"linux","rootfs":{{"type":"layers","diff_ids":{ids:?}}}}}"#
        )
        .into_bytes();
        let descriptor = |media_type: &str, bytes: &[u8]| {
            Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64)
        };
        let of_layers = layers
            .iter()
            .map(|layer| descriptor(LAYER, layer))
            .collect();
        let manifest = Manifest::new(descriptor(CONFIG, &config), of_layers);
        let manifest = serde_json::to_vec(&manifest).expect("JSON");
        Self {
            manifest,
            config,
            layers: layers.iter().map(|layer| layer.to_vec()).collect(),
        }
    }

    /// One layer of some MiB that do not compress.
    pub(crate) fn large() -> Self {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let layer: Vec<u8> = std::iter::repeat_with(&mut next).take(3 << 20).collect();
        Self::new(&[&layer])
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    pub(crate) fn serve(&self, request: &Request) -> Act {
        let end = request.path.rsplit('/').next().expect("an end");
        if request.path.contains("/manifests/") {
            if end != "1" && end != self.digest().to_string() {
                return Act::Answer(404, vec![], vec![]);
            }
            let headers = vec![
                ("content-type", MANIFEST.to_owned()),
                ("docker-content-digest", self.digest().to_string()),
            ];
            return Act::Answer(200, headers, self.manifest.clone());
        }
        let blob = self
            .layers
            .iter()
            .chain([&self.config])
            .find(|blob| Digest::of(blob).to_string() == end);
        match (blob, request.range) {
            (None, _) => Act::Answer(404, vec![], vec![]),
            (Some(blob), None) => Act::Answer(200, vec![], blob.clone()),
            (Some(blob), Some(from)) => {
                let range = format!("bytes {from}-{}/{}", blob.len() - 1, blob.len());
                let rest = blob[usize::try_from(from).expect("small")..].to_vec();
                Act::Answer(206, vec![("content-range", range)], rest)
            }
        }
    }

    /// Which layer a request is for.
    pub(crate) fn asked(&self, request: &Request) -> Option<usize> {
        (0..self.layers.len()).find(|at| request.path.ends_with(&self.layer(*at)))
    }

    /// The end of the path of a layer.
    pub(crate) fn layer(&self, at: usize) -> String {
        Digest::of(&self.layers[at]).to_string()
    }
}
