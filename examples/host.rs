//! A host over the client in Rust: it streams, runs a tool, cancels, and outlives its sidecar.
//! Put a real provider in place of `replay` and nothing else changes.

use sidecar_client::types::{actions, Chat, Chunk, Message, Nothing, Options as Asked, Role, ToolLoop};
use sidecar_client::{Event, Failure, Options, RequestOptions, Sidecar};
use std::time::Duration;

fn ask(model: &str) -> Chat {
    let options = Asked { tool_loop: Some(ToolLoop::default()), ..Asked::default() };
    let messages = Some(vec![Message::new(Role::User, "Hello")]);
    Chat { model: Some(model.to_owned()), messages, options: Some(options), ..Chat::default() }
}

fn main() -> Result<(), Failure> {
    let on_event = Box::new(|event| match event {
        Event::Exit { restarting, .. } => println!("[ended, restarting: {restarting}]"),
        _ => (),
    });
    let sidecar = Sidecar::new(Options { on_event, ..Options::default() });
    sidecar.start();
    let weather = RequestOptions::default().tool("weather", |arguments| {
        Ok(format!("4 degrees in {}", arguments["city"].as_str().ok_or("no city")?))
    });
    let mut chat = sidecar.request::<actions::StreamChat>(&ask("replay/tool_call"), weather);
    for chunk in &mut chat {
        if let Chunk::Content(text) = chunk { print!("{}", text.content) }
    }
    let done = chat.reply()?;
    println!("\n[{}, rounds: {}]", done.finish_reason.as_str(), done.rounds.unwrap_or_default().len());
    for cancelled in [true, false] {
        let mut call = sidecar.request::<actions::StreamChat>(&ask("replay/slow"), RequestOptions::default());
        call.find(|chunk| matches!(chunk, Chunk::Content(_)));
        if cancelled { call.cancel() } else { sidecar.kill() }
        call.reply().map_or_else(|failure| println!("[{}]", failure.code), |_| ());
    }
    let soon = RequestOptions::default().deadline(Duration::from_secs(10));
    println!("{:?}", sidecar.request::<actions::Ping>(&Nothing {}, soon).reply()?);
    Ok(())
}
