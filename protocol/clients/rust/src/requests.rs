//! Requests on their way: what a host says of them, and what comes back.

use crate::core::Input;
use crate::json::Raw;
use crate::types::{ToolCall, ToolResult, ToolResultContent};
use serde::de::DeserializeOwned;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::Arc;
use std::time::Duration;

/// Why a request has failed: an error of the sidecar's, or `sidecar_exited`, `spawn_failed`, `protocol_version`,
/// `unreadable_reply`.
#[derive(Debug, Clone)]
pub struct Failure {
    pub code: String,
    pub message: String,
    /// All that the sidecar says; `types::ErrorBody` has the fields.
    pub body: Raw,
}

impl Failure {
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let body = serde_json::json!({"code": code, "message": message});
        Self { code: code.to_owned(), message, body: to_raw(&body) }
    }

    pub(crate) fn with(self, field: &str, value: Value) -> Self {
        let mut body: Value = serde_json::from_str(self.body.get()).unwrap_or_default();
        body[field] = value;
        Self { body: to_raw(&body), ..self }
    }

    pub(crate) fn read(body: Raw) -> Self {
        #[derive(Deserialize, Default)]
        struct Words {
            code: Option<String>,
            message: Option<String>,
        }
        let words: Words = serde_json::from_str(body.get()).unwrap_or_default();
        let code = words.code.unwrap_or_else(|| "internal_error".to_owned());
        Self { code, message: words.message.unwrap_or_default(), body }
    }

    pub(crate) fn cancelled() -> Self {
        Self::new("cancelled", "The request was cancelled.")
    }

    pub(crate) fn closed() -> Self {
        Self::new("shutting_down", "The client was closed.")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Failure {}

fn to_raw(value: &Value) -> Raw {
    serde_json::value::to_raw_value(value).expect("a value can be written")
}

/// Returns the result of a call, or why it has failed, from the arguments.
pub(crate) type Tool = dyn Fn(&BTreeMap<String, Value>) -> Result<String, String> + Send + Sync;

/// What a request may have besides its parameters.
#[derive(Default, Clone)]
pub struct RequestOptions {
    pub(crate) provider: Option<String>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) tools: BTreeMap<String, Arc<Tool>>,
}

impl RequestOptions {
    pub fn provider(mut self, provider: impl Into<String>) -> Self {
        self.provider = Some(provider.into());
        self
    }

    /// The most time until the reply. After that the request fails with `timeout` and is cancelled.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// With `tool_loop`: what runs the calls of the tool `name`, each in a thread of its own.
    pub fn tool<F>(mut self, name: impl Into<String>, run: F) -> Self
    where
        F: Fn(&BTreeMap<String, Value>) -> Result<String, String> + Send + Sync + 'static,
    {
        self.tools.insert(name.into(), Arc::new(run));
        self
    }
}

/// Return the result of a call: what the tool returns, or why it was not run.
pub(crate) fn run_tool(tool: Option<&Tool>, id: String, call: Option<&ToolCall>) -> ToolResult {
    let arguments = call.map(|call| call.arguments.as_ref());
    let result = match (tool, arguments) {
        (Some(tool), Some(Some(arguments))) => catch_unwind(AssertUnwindSafe(|| tool(arguments)))
            .unwrap_or_else(|_| Err("The tool has failed.".to_owned())),
        (Some(_), Some(None)) => Err("The arguments are not a JSON object.".to_owned()),
        _ => Err("There is no such tool.".to_owned()),
    };
    let is_error = result.is_err().then_some(true);
    let text = result.unwrap_or_else(|problem| problem);
    ToolResult { id, content: Some(ToolResultContent::Text(text)), is_error }
}

/// What comes for a request.
pub(crate) enum Reply {
    Chunk(Raw),
    End(Result<Raw, Failure>),
}

/// A request on its way: an iterator over its chunks, and then its reply. Dropped, it is cancelled.
pub struct Call<C, R> {
    /// Its id in the lines.
    pub id: u64,
    pub(crate) replies: Receiver<Reply>,
    pub(crate) inputs: Sender<Input>,
    pub(crate) end: Option<Result<Raw, Failure>>,
    pub(crate) types: PhantomData<fn() -> (C, R)>,
}

impl<C: DeserializeOwned, R: DeserializeOwned> Call<C, R> {
    /// Wait for the data of the terminal line.
    pub fn reply(mut self) -> Result<R, Failure> {
        while self.end.is_none() {
            self.receive();
        }
        let data = self.end.take().expect("the loop ends with it")?;
        serde_json::from_str(data.get()).map_err(|error| Failure::new("unreadable_reply", error.to_string()))
    }

    fn receive(&mut self) -> Option<Raw> {
        match self.replies.recv() {
            Ok(Reply::Chunk(chunk)) => return Some(chunk),
            Ok(Reply::End(end)) => self.end = Some(end),
            Err(_) => self.end = Some(Err(Failure::closed())),
        }
        None
    }
}

impl<C, R> Call<C, R> {
    /// End the request, which fails with `cancelled` unless it has just ended. The client sends on no chunk after this.
    pub fn cancel(&self) {
        let _ = self.inputs.send(Input::Cancel(self.id));
    }

    /// Return what cancels the request from another thread.
    pub fn canceller(&self) -> Canceller {
        Canceller { id: self.id, inputs: self.inputs.clone() }
    }
}

impl<C: DeserializeOwned, R: DeserializeOwned> Iterator for Call<C, R> {
    type Item = C;

    /// Wait for a chunk. One of a known type with a field of a wrong one ends the request: `unreadable_reply`.
    fn next(&mut self) -> Option<C> {
        if self.end.is_some() {
            return None;
        }
        let chunk = self.receive()?;
        match serde_json::from_str(chunk.get()) {
            Ok(chunk) => Some(chunk),
            Err(error) => {
                self.cancel();
                self.end = Some(Err(Failure::new("unreadable_reply", error.to_string())));
                None
            }
        }
    }
}

impl<C, R> Drop for Call<C, R> {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Cancels a request.
#[derive(Clone)]
pub struct Canceller {
    id: u64,
    inputs: Sender<Input>,
}

impl Canceller {
    pub fn cancel(&self) {
        let _ = self.inputs.send(Input::Cancel(self.id));
    }
}
