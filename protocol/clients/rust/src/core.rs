//! The thread of the client. It alone knows the process, the open requests and the timers, so that nothing is locked:
//! hosts, the readers of the pipes and the tools send it what happens.

mod timers;

use self::timers::Timer;
use crate::client::{write_request, Event, Options};
use crate::entries::{read_tag, run_tools, Cancelling, Entry, Line, Purpose};
use crate::json::Raw;
use crate::process::{Output, Process};
use crate::requests::{Failure, Reply};
use crate::types::{Cancel, SendToolResult, ToolResult, PROTOCOL_VERSION};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A process that works for so long is no failure in a row.
const STEADY: Duration = Duration::from_secs(60);

/// How long a process may live on when its stdout has ended.
const MUTE: Duration = Duration::from_millis(200);

/// How long what has inherited the pipes of a process may hold them open after its end.
const DRAIN: Duration = Duration::from_secs(1);

pub enum Input {
    Start,
    Request(u64, Entry, Option<Duration>),
    Cancel(u64),
    Kill,
    Close(Sender<()>),
    /// Something of the process with this number.
    Output(u64, Output),
    /// The result of a call that the request with this id has made.
    Result(u64, ToolResult),
}

pub struct Core {
    options: Options,
    inputs: Sender<Input>,
    last_id: Arc<AtomicU64>,
    process: Option<Process>,
    /// How many processes there were.
    number: u64,
    ready_at: Option<Instant>,
    /// The exit code of the process, whose output is still read.
    exit: Option<Option<i32>>,
    refused: Option<Failure>,
    closing: bool,
    closers: Vec<Sender<()>>,
    entries: BTreeMap<u64, Entry>,
    restarts: u32,
    timers: BinaryHeap<Reverse<(Instant, Timer)>>,
}

impl Core {
    pub fn new(options: Options, inputs: Sender<Input>, last_id: Arc<AtomicU64>) -> Self {
        Self {
            options,
            inputs,
            last_id,
            process: None,
            number: 0,
            ready_at: None,
            exit: None,
            refused: None,
            closing: false,
            closers: Vec::new(),
            entries: BTreeMap::new(),
            restarts: 0,
            timers: BinaryHeap::new(),
        }
    }

    /// Take what happens until the client is closed.
    pub fn run(mut self, inputs: &Receiver<Input>) {
        while !(self.closing && self.process.is_none()) {
            match inputs.recv_timeout(self.wait()) {
                Ok(input) => self.take(input),
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.expire_timers();
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Start if self.process.is_none() && !self.closing => {
                self.refused = None;
                self.spawn();
            }
            Input::Start => {}
            Input::Request(id, entry, deadline) => self.open(id, entry, deadline),
            Input::Cancel(id) => self.cancel(id),
            Input::Kill => self.process.iter_mut().for_each(Process::kill),
            Input::Close(closer) => self.close(closer),
            Input::Output(number, output) if number == self.number => self.take_output(output),
            Input::Output(..) => {}
            Input::Result(id, result) => {
                let params = SendToolResult { results: Some(vec![result]), ..SendToolResult::new(id as i64) };
                self.send_own("tool_result", &params, Purpose::Result);
            }
        }
    }

    fn close(&mut self, closer: Sender<()>) {
        self.closers.push(closer);
        if std::mem::replace(&mut self.closing, true) {
            return;
        }
        self.fail_all(|entry| !entry.sent, &Failure::closed());
        if let Some(process) = &mut self.process {
            process.close_stdin();
            self.set_timer(self.options.grace, Timer::Terminate(self.number));
            self.set_timer(self.options.grace * 2, Timer::Kill(self.number));
        }
    }

    // --- the process -------------------------------------------------------------------------

    fn spawn(&mut self) {
        self.number += 1;
        let (number, inputs) = (self.number, self.inputs.clone());
        let report = move |output| {
            let _ = inputs.send(Input::Output(number, output));
        };
        match Process::spawn(&self.options.command, report) {
            Ok(process) => self.process = Some(process),
            Err(error) => {
                let stderr = format!("{}: {error}", self.options.command[0]);
                let failure = Failure::new("spawn_failed", stderr.as_str());
                self.fail_all(|_| true, &failure);
                self.refused = Some(failure);
                return self.report(Event::Exit { code: None, restarting: false, stderr });
            }
        }
        self.set_timer(self.options.start, Timer::Kill(number));
        let mut params = self.options.initialize.clone();
        params.protocol_version.get_or_insert(PROTOCOL_VERSION);
        self.send_own("initialize", &params, Purpose::Initialize);
    }

    fn take_output(&mut self, output: Output) {
        let Some(process) = &mut self.process else { return };
        match output {
            Output::Lines(lines) => lines.split(|&byte| byte == b'\n').for_each(|line| self.read_line(line)),
            Output::Stderr(bytes) => process.keep_stderr(&bytes),
            Output::StderrEnd => process.stderr_ended = true,
            Output::StdoutEnd => {
                process.stdout_ended = true;
                if !process.is_closed() {
                    // It can answer nothing any more, and may never end by itself.
                    self.set_timer(MUTE, Timer::KillMute(self.number));
                }
            }
        }
        self.look();
    }

    /// See whether the process has ended. Its output is read to the end, unless a child of its own holds the pipes.
    fn look(&mut self) {
        let Some(process) = &mut self.process else { return };
        let is_read = process.stdout_ended && process.stderr_ended;
        let had_ended = self.exit.is_some();
        self.exit = self.exit.or_else(|| process.ended());
        match self.exit {
            Some(code) if is_read => self.end(code),
            Some(_) if !had_ended => self.set_timer(DRAIN, Timer::Drained(self.number)),
            _ => {}
        }
    }

    fn end(&mut self, code: Option<i32>) {
        let stderr = self.process.take().map(|process| process.stderr()).unwrap_or_default();
        if self.ready_at.take().is_some_and(|since| since.elapsed() > STEADY) {
            self.restarts = 0;
        }
        self.exit = None;
        let restarting = code != Some(2) && !self.closing && self.refused.is_none();
        if !restarting && !self.closing && self.refused.is_none() {
            self.refused = Some(Failure::new("sidecar_exited", stderr.trim()));
        }
        self.fail_sent(code);
        if let Some(refused) = self.refused.clone() {
            self.fail_all(|_| true, &refused);
        }
        if restarting {
            let factor = 2u32.saturating_pow(self.restarts);
            let delay = self.options.backoff.saturating_mul(factor).min(self.options.max_backoff);
            self.restarts += 1;
            self.set_timer(delay, Timer::Restart(self.number));
        }
        self.report(Event::Exit { code, restarting, stderr });
    }

    fn fail_sent(&mut self, code: Option<i32>) {
        let how = code.map_or("by a signal".to_owned(), |code| code.to_string());
        let failure = Failure::new("sidecar_exited", format!("The sidecar has ended ({how})."));
        let failure = failure.with("retryable", Value::Bool(true));
        for has_chunks in [false, true] {
            let failure = failure.clone().with("partial", Value::Bool(has_chunks));
            self.fail_all(|entry| entry.sent && entry.has_chunks == has_chunks, &failure);
        }
    }

    // --- lines -------------------------------------------------------------------------------

    fn read_line(&mut self, bytes: &[u8]) {
        if bytes.trim_ascii().is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(bytes);
        let Ok(line) = serde_json::from_str::<Line>(&text) else {
            return self.report_problem("The sidecar has written a line that cannot be read.");
        };
        let Some(entry) = line.id.as_u64().and_then(|id| self.entries.get_mut(&id)) else {
            return self.read_stray(&line);
        };
        let id = line.id.as_u64().unwrap_or_default();
        if line.streaming && line.data.is_some_and(|data| read_tag(data) != "done") {
            entry.has_chunks = true;
            if entry.cancelling == Cancelling::No {
                line.data.into_iter().for_each(|data| self.take_chunk(id, data));
            }
        } else if line.success && entry.cancelling != Cancelling::Found {
            let data = line.data.map_or_else(|| RawValue::from_string("null".to_owned()), |data| Ok(data.to_owned()));
            self.settle(id, data.map_err(|error| Failure::new("unreadable_reply", error.to_string())));
        } else {
            self.settle(id, Err(line.error.map_or_else(Failure::cancelled, |body| Failure::read(body.to_owned()))));
        }
    }

    fn read_stray(&mut self, line: &Line) {
        if line.event.is_some() {
            line.data.into_iter().for_each(|data| self.report(Event::Warning(data.to_owned())));
        } else if !line.id.as_u64().is_some_and(|id| id <= self.last_id.load(Ordering::Relaxed)) {
            // A request that has expired may still have lines on their way.
            self.report_problem("A line of the sidecar's belongs to no request.");
        }
    }

    fn take_chunk(&mut self, id: u64, chunk: &RawValue) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if !entry.tools.is_empty() {
            run_tools(&self.inputs, id, entry, chunk);
        }
        if let Purpose::Host(host) = &entry.purpose {
            let _ = host.send(Reply::Chunk(chunk.to_owned()));
        }
    }

    // --- requests ----------------------------------------------------------------------------

    fn open(&mut self, id: u64, entry: Entry, deadline: Option<Duration>) {
        self.entries.insert(id, entry);
        if let Some(deadline) = deadline {
            self.set_timer(deadline, Timer::Deadline(id, deadline));
        }
        if self.closing {
            self.settle(id, Err(Failure::closed()));
        } else if let Some(refused) = self.refused.clone() {
            self.settle(id, Err(refused));
        } else if self.ready_at.is_some() {
            self.write(id);
        }
    }

    fn write(&mut self, id: u64) {
        if let (Some(process), Some(entry)) = (&self.process, self.entries.get_mut(&id)) {
            entry.sent = true;
            process.write(std::mem::take(&mut entry.line));
        }
    }

    /// Send a request of the client's own.
    fn send_own(&mut self, action: &str, params: &impl Serialize, purpose: Purpose) {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let line = write_request(id, action, None, params).expect("the types of the protocol can be written");
        self.entries.insert(id, Entry::new(line, purpose, BTreeMap::new()));
        self.write(id);
    }

    fn settle(&mut self, id: u64, end: Result<Raw, Failure>) {
        match self.entries.remove(&id).map(|entry| entry.purpose) {
            Some(Purpose::Host(host)) => drop(host.send(Reply::End(end))),
            Some(Purpose::Initialize) => self.take_initialized(end),
            Some(Purpose::Cancel(target)) => self.take_cancelled(target, end),
            Some(Purpose::Result) | None => {}
        }
    }

    fn fail_all(&mut self, is_meant: impl Fn(&Entry) -> bool, failure: &Failure) {
        let meant: Vec<u64> = self.entries.iter().filter(|(_, entry)| is_meant(entry)).map(|(&id, _)| id).collect();
        for id in meant {
            self.settle(id, Err(failure.clone()));
        }
    }

    fn take_initialized(&mut self, end: Result<Raw, Failure>) {
        #[derive(Deserialize, Default)]
        struct Version {
            protocol_version: Value,
        }
        let initialized = match end {
            Ok(initialized) => initialized,
            Err(failure) if failure.code == "sidecar_exited" => return,
            Err(failure) => return self.refuse(failure),
        };
        let version: Version = serde_json::from_str(initialized.get()).unwrap_or_default();
        if version.protocol_version != PROTOCOL_VERSION {
            let other = version.protocol_version;
            let message = format!("The sidecar speaks version {other} of the protocol, not {PROTOCOL_VERSION}.");
            return self.refuse(Failure::new("protocol_version", message));
        }
        self.ready_at = Some(Instant::now());
        self.report(Event::Ready(initialized));
        let waiting: Vec<u64> = self.entries.iter().filter(|(_, entry)| !entry.sent).map(|(&id, _)| id).collect();
        waiting.into_iter().for_each(|id| self.write(id));
    }

    fn refuse(&mut self, failure: Failure) {
        self.refused = Some(failure.clone());
        self.report(Event::Refused(failure.clone()));
        self.fail_all(|_| true, &failure);
        self.process.iter_mut().for_each(Process::close_stdin);
        self.set_timer(self.options.grace, Timer::Kill(self.number));
    }

    fn cancel(&mut self, id: u64) {
        match self.entries.get_mut(&id) {
            Some(entry) if entry.sent && entry.cancelling == Cancelling::No => {
                entry.cancelling = Cancelling::Sent;
                self.set_timer(self.options.grace, Timer::Cancelled(id));
                self.send_own("cancel", &Cancel::new(id as i64), Purpose::Cancel(id));
            }
            Some(entry) if !entry.sent => self.settle(id, Err(Failure::cancelled())),
            _ => {}
        }
    }

    fn take_cancelled(&mut self, target: u64, end: Result<Raw, Failure>) {
        #[derive(Deserialize, Default)]
        struct Found {
            found: bool,
        }
        let Ok(cancelled) = end else { return };
        if !serde_json::from_str::<Found>(cancelled.get()).unwrap_or_default().found {
            self.settle(target, Err(Failure::cancelled()));
        } else if let Some(entry) = self.entries.get_mut(&target) {
            entry.cancelling = Cancelling::Found;
        }
    }

    fn expire(&mut self, id: u64, deadline: Duration) {
        match self.entries.get(&id) {
            Some(entry) if entry.sent => self.send_own("cancel", &Cancel::new(id as i64), Purpose::Cancel(id)),
            Some(_) => {}
            None => return,
        }
        let message = format!("No answer in {} ms.", deadline.as_millis());
        self.settle(id, Err(Failure::new("timeout", message).with("phase", "total".into())));
    }

    fn report(&mut self, event: Event) {
        (self.options.on_event)(event);
    }

    fn report_problem(&mut self, problem: &str) {
        self.report(Event::Problem(problem.to_owned()));
    }
}
