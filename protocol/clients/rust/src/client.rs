//! The client as a host sees it: a handle on the thread that `core.rs` describes.

use crate::core::{Core, Input};
use crate::entries::{Entry, Purpose};
use crate::json::{Raw, TypedAction};
use crate::requests::{Call, Failure, Reply, RequestOptions};
use crate::types::Initialize;
use serde::de::DeserializeOwned;
use serde::Serialize;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// What concerns no request.
#[derive(Debug)]
pub enum Event {
    /// The sidecar has answered `initialize`, again after each restart; `types::Initialized` has the fields.
    Ready(Raw),
    /// A warning that belongs to no request: `types::Warn`.
    Warning(Raw),
    /// A process has ended.
    Exit {
        /// None if a signal has ended it.
        code: Option<i32>,
        restarting: bool,
        /// The last 8 KiB of what it wrote for people.
        stderr: String,
    },
    /// The sidecar cannot be used, and is not restarted: show the message to the user.
    Refused(Failure),
    /// A line that belongs to no request: a mistake, of the host's or the sidecar's.
    Problem(String),
}

/// How to start the sidecar, and whom to tell of what concerns no request.
pub struct Options {
    /// The program and its arguments. Default: the path in the variable SIDECAR, or else `sidecar`.
    pub command: Vec<String>,
    /// The parameters of `initialize`, which is sent to each new process.
    pub initialize: Initialize,
    /// How long to wait before the first restart; twice as long before each one in a row.
    pub backoff: Duration,
    pub max_backoff: Duration,
    /// How long to wait for each step of an orderly end, and for the end of a cancelled request.
    pub grace: Duration,
    /// How long a process may take to answer `initialize`.
    pub start: Duration,
    /// Called in the thread of the client: it must not wait.
    pub on_event: Box<dyn FnMut(Event) + Send>,
}

impl Default for Options {
    fn default() -> Self {
        let found = std::env::var("SIDECAR").ok().filter(|path| !path.is_empty());
        Self {
            command: vec![found.unwrap_or_else(|| "sidecar".to_owned())],
            initialize: Initialize::default(),
            backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(30),
            grace: Duration::from_secs(2),
            start: Duration::from_secs(30),
            on_event: Box::new(|_| {}),
        }
    }
}

/// A sidecar that is started again when it ends by itself. It can be shared between threads; dropped, it is closed.
pub struct Sidecar {
    inputs: Sender<Input>,
    last_id: Arc<AtomicU64>,
}

impl Sidecar {
    /// Make a client, which starts nothing yet.
    pub fn new(options: Options) -> Self {
        let (inputs, received) = mpsc::channel();
        let last_id = Arc::new(AtomicU64::new(0));
        let core = Core::new(options, inputs.clone(), last_id.clone());
        thread::spawn(move || core.run(&received));
        Self { inputs, last_id }
    }

    /// Start the sidecar, also again after it was refused. Requests that come before it is ready wait.
    pub fn start(&self) {
        let _ = self.inputs.send(Input::Start);
    }

    /// Send a request of an action in `types::actions`. It fails at once if the sidecar cannot be used.
    pub fn request<A: TypedAction>(&self, params: &A::Params, options: RequestOptions) -> Call<A::Chunk, A::Reply> {
        self.send(A::NAME, params, options)
    }

    /// Send a request of any action. With `Raw` for both types, chunks and reply are as they came.
    pub fn send<C, R>(&self, action: &str, params: &impl Serialize, options: RequestOptions) -> Call<C, R>
    where
        C: DeserializeOwned,
        R: DeserializeOwned,
    {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, replies) = mpsc::channel();
        match write_request(id, action, options.provider.as_deref(), params) {
            Ok(line) => {
                let entry = Entry::new(line, Purpose::Host(sender), options.tools);
                // The client may be closed; the end of the channel says so then.
                let _ = self.inputs.send(Input::Request(id, entry, options.deadline));
            }
            Err(error) => {
                let failure = Failure::new("invalid_request", error.to_string());
                let _ = sender.send(Reply::End(Err(failure)));
            }
        }
        Call { id, replies, inputs: self.inputs.clone(), end: None, types: PhantomData }
    }

    /// End the process, which is started again. For one that no longer answers, not even a `ping`.
    pub fn kill(&self) {
        let _ = self.inputs.send(Input::Kill);
    }

    /// End the sidecar: by the end of its input, and by signals if that does not help. Open requests may finish.
    pub fn close(&self) {
        let (ended, wait) = mpsc::channel();
        if self.inputs.send(Input::Close(ended)).is_ok() {
            let _ = wait.recv();
        }
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.close();
    }
}

/// Return the line of a request, its LF included.
pub(crate) fn write_request(
    id: u64,
    action: &str,
    provider: Option<&str>,
    params: &impl Serialize,
) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Request<'a, P> {
        id: u64,
        action: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        provider: Option<&'a str>,
        params: &'a P,
    }
    let mut line = serde_json::to_vec(&Request { id, action, provider, params })?;
    line.push(b'\n');
    Ok(line)
}
