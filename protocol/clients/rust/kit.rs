//! The driver of the conformance kit (protocol/KIT.md): carries out operations, and reports what happens.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{json, Value};
use sidecar_client::types::{ClientInfo, Initialize, InitializeEvent};
use sidecar_client::{Call, Canceller, Event, Failure, Options, Raw, RequestOptions, Sidecar};
use std::collections::HashMap;
use std::io::{stdin, stdout, Write};
use std::thread;
use std::time::Duration;

#[derive(Deserialize)]
struct Operation {
    op: String,
    #[serde(default)]
    id: Value,
    #[serde(default)]
    action: String,
    provider: Option<String>,
    params: Option<Box<RawValue>>,
    deadline_ms: Option<u64>,
}

/// Write a report; the fields are JSON.
fn report(event: &str, fields: &[(&str, &dyn std::fmt::Display)]) {
    let fields: String = fields.iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect();
    let line = format!("{{\"event\":\"{event}\"{fields}}}\n");
    let mut output = stdout().lock();
    output.write_all(line.as_bytes()).and_then(|()| output.flush()).expect("the kit reads");
}

fn report_event(event: Event) {
    match event {
        Event::Ready(data) => {
            let initialized: Value = serde_json::from_str(data.get()).expect("JSON");
            report("ready", &[("protocol_version", &initialized["protocol_version"])]);
        }
        Event::Warning(data) => report("unsolicited", &[("data", &data)]),
        Event::Exit { code, restarting, stderr } => {
            report("exit", &[("code", &json!(code)), ("restarting", &restarting), ("stderr", &json!(stderr))]);
        }
        Event::Refused(Failure { code, body, .. }) => {
            let body: Value = serde_json::from_str(body.get()).expect("JSON");
            report("refused", &[("reason", &json!(body["reason"].as_str().unwrap_or(&code)))]);
        }
        Event::Problem(problem) => eprintln!("{problem}"),
    }
}

fn follow(id: &Value, mut call: Call<Raw, Raw>) {
    for data in &mut call {
        report("chunk", &[("id", id), ("data", &data)]);
    }
    match call.reply() {
        Ok(data) => report("done", &[("id", id), ("data", &data)]),
        Err(failure) => report("error", &[("id", id), ("error", &failure.body)]),
    }
}

fn main() {
    let backoff_ms = std::env::var("SIDECAR_BACKOFF_MS").ok().and_then(|text| text.parse().ok()).unwrap_or(1000);
    let sidecar = Sidecar::new(Options {
        command: vec![std::env::var("SIDECAR_COMMAND").expect("the kit sets it")],
        backoff: Duration::from_millis(backoff_ms),
        initialize: Initialize {
            client: Some(ClientInfo::new("kit")),
            events: Some(vec![InitializeEvent::Status, InitializeEvent::Warnings]),
            ..Initialize::default()
        },
        on_event: Box::new(report_event),
        ..Options::default()
    });
    let mut cancellers = HashMap::<String, Canceller>::new();
    let mut followers = Vec::new();
    for line in stdin().lines() {
        let op: Operation = serde_json::from_str(&line.expect("UTF-8")).expect("an operation");
        match op.op.as_str() {
            "start" => sidecar.start(),
            "request" => {
                let mut options = RequestOptions::default();
                options = op.provider.into_iter().fold(options, RequestOptions::provider);
                options = op.deadline_ms.map(Duration::from_millis).into_iter().fold(options, RequestOptions::deadline);
                let params = op.params.unwrap_or_else(|| RawValue::from_string("{}".to_owned()).expect("JSON"));
                let call = sidecar.send::<Raw, Raw>(&op.action, &params, options);
                cancellers.insert(op.id.to_string(), call.canceller());
                followers.push(thread::spawn(move || follow(&op.id, call)));
            }
            "cancel" => cancellers.get(&op.id.to_string()).into_iter().for_each(Canceller::cancel),
            _ => break,
        }
    }
    sidecar.close();
    followers.into_iter().for_each(|follower| follower.join().expect("it only reports"));
}
