//! What is due at some time.

use super::{Core, STEADY};
use crate::process::Process;
use crate::requests::Failure;
use std::cmp::Reverse;
use std::time::{Duration, Instant};

/// How often to look whether a process has ended: one that should end soon, and any.
const LOOK_SOON: Duration = Duration::from_millis(10);
const LOOK: Duration = Duration::from_secs(1);

/// What is due: of a request by its id, or of a process by its number.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    Deadline(u64, Duration),
    Cancelled(u64),
    Restart(u64),
    Kill(u64),
    KillMute(u64),
    Terminate(u64),
    Drained(u64),
}

impl Core {
    pub fn set_timer(&mut self, delay: Duration, timer: Timer) {
        self.timers.push(Reverse((Instant::now() + delay, timer)));
    }

    pub fn wait(&self) -> Duration {
        let next = self.timers.peek().map(|Reverse((at, _))| at.saturating_duration_since(Instant::now()));
        let ends_soon = |process: &Process| process.stdout_ended || process.is_closed();
        let look = self.process.as_ref().map(|process| if ends_soon(process) { LOOK_SOON } else { LOOK });
        // With nothing to wait for, any time will do.
        [next, look].into_iter().flatten().min().unwrap_or(STEADY)
    }

    pub fn expire_timers(&mut self) {
        while self.timers.peek().is_some_and(|Reverse((at, _))| *at <= Instant::now()) {
            let Some(Reverse((_, timer))) = self.timers.pop() else { return };
            match timer {
                Timer::Deadline(id, deadline) => self.expire(id, deadline),
                Timer::Cancelled(id) => self.settle(id, Err(Failure::cancelled())),
                Timer::Restart(number) if number == self.number && !self.closing => self.spawn(),
                _ => self.expire_process(timer),
            }
        }
    }

    fn expire_process(&mut self, timer: Timer) {
        let Some(process) = &mut self.process else { return };
        let (number, is_ending) = (self.number, self.closing || self.refused.is_some());
        match timer {
            Timer::Kill(of) if of == number && (is_ending || self.ready_at.is_none()) => process.kill(),
            Timer::KillMute(of) if of == number && !self.closing => process.kill(),
            Timer::Terminate(of) if of == number => process.terminate(),
            Timer::Drained(of) if of == number => {
                let code = self.exit.flatten();
                self.end(code);
            }
            _ => {}
        }
    }
}
