//! One process of the sidecar: its three pipes, each with a thread of its own, and its end.

use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread;

/// How much of what a process writes for people is kept.
const STDERR_BYTES: usize = 8192;

const READ_BYTES: usize = 1 << 16;

/// What comes out of a process.
pub enum Output {
    /// Whole lines, some at a time, without the last LF.
    Lines(Vec<u8>),
    Stderr(Vec<u8>),
    StdoutEnd,
    StderrEnd,
}

pub struct Process {
    child: Child,
    /// Absent once stdin is closed.
    stdin: Option<Sender<Vec<u8>>>,
    stderr: Vec<u8>,
    pub stdout_ended: bool,
    pub stderr_ended: bool,
}

impl Process {
    /// Start the program; its threads call `report` until both outputs have ended.
    pub fn spawn(command: &[String], report: impl Fn(Output) + Clone + Send + 'static) -> io::Result<Self> {
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (mut input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (stdin, lines) = mpsc::channel::<Vec<u8>>();
        thread::spawn(move || {
            // The end of the loop closes the pipe. A write fails when the process has ended, which is reported.
            while let (Ok(line), Some(pipe)) = (lines.recv(), input.as_mut()) {
                if pipe.write_all(&line).is_err() {
                    break;
                }
            }
        });
        let report_lines = report.clone();
        thread::spawn(move || {
            output.into_iter().for_each(|pipe| read_lines(pipe, &report_lines));
            report_lines(Output::StdoutEnd);
        });
        thread::spawn(move || {
            errors.into_iter().for_each(|pipe| read_all(pipe, |bytes| report(Output::Stderr(bytes.to_vec()))));
            report(Output::StderrEnd);
        });
        Ok(Self { child, stdin: Some(stdin), stderr: Vec::new(), stdout_ended: false, stderr_ended: false })
    }

    /// Hand over a line; nothing happens if stdin is closed.
    pub fn write(&self, line: Vec<u8>) {
        if let Some(stdin) = &self.stdin {
            let _ = stdin.send(line);
        }
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub fn is_closed(&self) -> bool {
        self.stdin.is_none()
    }

    pub fn keep_stderr(&mut self, bytes: &[u8]) {
        self.stderr.extend_from_slice(bytes);
        let extra = self.stderr.len().saturating_sub(STDERR_BYTES);
        self.stderr.drain(..extra);
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Return whether the process has ended and, if so, its exit code: none if a signal has ended it.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().ok().flatten().map(|status| status.code())
    }

    /// Ask the process to end.
    pub fn terminate(&mut self) {
        #[cfg(unix)]
        if matches!(self.child.try_wait(), Ok(None)) {
            extern "C" {
                fn kill(pid: i32, signal: i32) -> i32;
            }
            const SIGTERM: i32 = 15;
            // The process is not waited for yet, so that its number belongs to no other.
            unsafe { kill(self.child.id() as i32, SIGTERM) };
        }
        #[cfg(not(unix))]
        self.kill();
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
    }
}

/// Report whole lines; they are cut at the byte LF alone.
fn read_lines(pipe: impl Read, report: &impl Fn(Output)) {
    let mut rest = Vec::new();
    read_all(pipe, |bytes| match bytes.iter().rposition(|&byte| byte == b'\n') {
        Some(end) => {
            rest.extend_from_slice(&bytes[..end]);
            report(Output::Lines(std::mem::replace(&mut rest, bytes[end + 1..].to_vec())));
        }
        None => rest.extend_from_slice(bytes),
    });
}

fn read_all(mut pipe: impl Read, mut take: impl FnMut(&[u8])) {
    let mut bytes = vec![0; READ_BYTES];
    loop {
        match pipe.read(&mut bytes) {
            Ok(0) => return,
            Ok(count) => take(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
