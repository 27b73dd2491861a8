//! The lines that come, and what the table of open requests knows of each.

use crate::core::Input;
use crate::requests::{run_tool, Reply, Tool};
use crate::types::{ToolCall, ToolCallChunk, ToolRound};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::Arc;
use std::thread;

/// Where the end of a request goes.
pub enum Purpose {
    Host(Sender<Reply>),
    Initialize,
    /// It asks the sidecar to cancel the request with this id.
    Cancel(u64),
    Result,
}

#[derive(PartialEq)]
pub enum Cancelling {
    No,
    /// The sidecar does not know yet.
    Sent,
    /// It does, and no success comes any more.
    Found,
}

/// What the table of open requests knows of one.
pub struct Entry {
    pub line: Vec<u8>,
    pub purpose: Purpose,
    pub sent: bool,
    pub has_chunks: bool,
    pub cancelling: Cancelling,
    pub tools: BTreeMap<String, Arc<Tool>>,
    calls: BTreeMap<String, ToolCall>,
}

impl Entry {
    pub fn new(line: Vec<u8>, purpose: Purpose, tools: BTreeMap<String, Arc<Tool>>) -> Self {
        let (cancelling, calls) = (Cancelling::No, BTreeMap::new());
        Self { line, purpose, sent: false, has_chunks: false, cancelling, tools, calls }
    }
}

#[derive(Deserialize)]
pub struct Line<'a> {
    #[serde(default)]
    pub id: Value,
    #[serde(default)]
    pub success: bool,
    #[serde(default)]
    pub streaming: bool,
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
    #[serde(borrow)]
    pub error: Option<&'a RawValue>,
    #[serde(borrow)]
    pub event: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow, default)]
    r#type: Cow<'a, str>,
}

/// Return the type of a chunk.
pub fn read_tag(data: &RawValue) -> Cow<'_, str> {
    serde_json::from_str::<Tag>(data.get()).map_or(Cow::Borrowed(""), |tag| tag.r#type)
}

/// Keep a call, or run those of a round, each in a thread of its own.
pub fn run_tools(inputs: &Sender<Input>, id: u64, entry: &mut Entry, chunk: &RawValue) {
    match read_tag(chunk).as_ref() {
        "tool_call" => {
            if let Ok(ToolCallChunk { tool_call, .. }) = serde_json::from_str(chunk.get()) {
                entry.calls.insert(tool_call.id.clone(), tool_call);
            }
        }
        "tool_round" => {
            let round = serde_json::from_str::<ToolRound>(chunk.get());
            for call_id in round.map(|round| round.calls).unwrap_or_default() {
                let call = entry.calls.remove(&call_id);
                let tool = call.as_ref().and_then(|call| entry.tools.get(&call.name)).cloned();
                let inputs = inputs.clone();
                thread::spawn(move || {
                    let result = run_tool(tool.as_deref(), call_id, call.as_ref());
                    let _ = inputs.send(Input::Result(id, result));
                });
            }
        }
        _ => {}
    }
}
