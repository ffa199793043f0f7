//! Every field of MLflow's requests is kept, refused, or without meaning here;
//! none is lost.

use btc_track::TrackingClient;
use serde_json::{Map, Value, json};

use crate::http::{Answer, Connection, Server};

const REQUESTS: &str = include_str!("../fixtures/requests-3.17.txt");
const UNKNOWN: &str = "nobody_knows";

/// Reads `name:kind`, `name[]:kind` and `name{ ... }` up to the end or a brace.
fn fields<'a>(words: &mut impl Iterator<Item = &'a str>) -> Map<String, Value> {
    let mut found = Map::new();
    while let Some(word) = words.next() {
        if word == "}" {
            break;
        }
        let (name, kind) = match word.strip_suffix('{') {
            Some(name) => (name, "message"),
            None => word.split_once(':').unwrap(),
        };
        let value = match kind {
            "message" => Value::Object(fields(words)),
            "text" => json!("1"),
            "bool" => json!(true),
            "number" => json!(1.5),
            _ => json!(1),
        };
        match name.strip_suffix("[]") {
            Some(name) => found.insert(name.to_owned(), json!([value])),
            None => found.insert(name.to_owned(), value),
        };
    }
    found
}

/// Copies of a request with an unknown field in it, one for each message in it.
fn spoiled(request: &Value) -> Vec<Value> {
    let mut copies = Vec::new();
    match request {
        Value::Object(members) => {
            let mut copy = members.clone();
            copy.insert(UNKNOWN.into(), json!(1));
            copies.push(Value::Object(copy));
            for (name, member) in members {
                for inner in spoiled(member) {
                    let mut copy = members.clone();
                    copy.insert(name.clone(), inner);
                    copies.push(Value::Object(copy));
                }
            }
        }
        Value::Array(items) => {
            let inner = items.iter().flat_map(spoiled);
            copies.extend(inner.map(|item| json!([item])));
        }
        _ => {}
    }
    copies
}

fn send(c: &mut Connection, method: &str, path: &str, body: &Value) -> Answer {
    let path = format!("/api/2.0/mlflow{path}");
    let body = body.to_string();
    c.request(method, &path, "application/json", body.as_bytes())
        .unwrap()
}

fn query(request: &Value) -> String {
    let pair = |(name, value): (&String, &Value)| {
        let value = value.get(0).unwrap_or(value);
        format!(
            "{name}={}",
            value.as_str().map_or(value.to_string(), str::to_owned)
        )
    };
    let pairs: Vec<String> = request.as_object().unwrap().iter().map(pair).collect();
    pairs.join("&")
}

fn is_refused_for_its_field(answer: &Answer) -> bool {
    answer.status == 400 && answer.json().to_string().contains(UNKNOWN)
}

#[test]
fn no_field_of_a_request_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(TrackingClient::in_memory(folder.path()).unwrap());
    let mut c = server.connect();
    let mut endpoints = 0;
    for line in REQUESTS.lines() {
        let mut words = line.split_whitespace();
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let path = path.replace("{model_id}", "m-1").replace("{tag_key}", "1");
        let request = Value::Object(fields(&mut words));
        let mut answers = vec![send(&mut c, method, &path, &request)];
        if method == "GET" {
            let uri = format!("/api/2.0/mlflow{path}?{}", query(&request));
            answers.push(c.get(&uri));
            let answer = c.get(&format!("{uri}&{UNKNOWN}=1"));
            assert!(
                is_refused_for_its_field(&answer),
                "{line}: {}",
                answer.json()
            );
        }
        for answer in answers {
            let text = answer.json().to_string();
            assert!(!text.contains("does not know"), "{line}: {text}");
            assert_ne!(answer.json()["error_code"], "ENDPOINT_NOT_FOUND", "{line}");
            assert_ne!(answer.status, 500, "{line}: {text}");
        }
        for request in spoiled(&request) {
            let answer = send(&mut c, method, &path, &request);
            assert!(
                is_refused_for_its_field(&answer),
                "{request}: {}",
                answer.json()
            );
        }
        endpoints += 1;
    }
    assert_eq!(endpoints, REQUESTS.lines().count());
}
