//! What the types do not list is kept, and what they have is written as it was read.

use serde_json::{from_value, json, to_value};
use sidecar_client::types::{Chat, Chunk, FinishReason, ListChunk, Message, MessageContent, Part, Role, TextPart};
use sidecar_client::Either;

#[test]
fn a_chunk_of_a_type_that_is_not_listed_is_kept() {
    let novel = json!({"type": "novel", "content": [1, null]});
    let chunk: Chunk = from_value(novel.clone()).expect("any type can be read");
    assert_eq!(chunk, Chunk::Unlisted(novel.clone()));
    assert_eq!(to_value(chunk).expect("it can be written"), novel);
}

#[test]
fn a_chunk_with_a_field_that_is_not_listed_is_read() {
    let chunk: Chunk = from_value(json!({"type": "content", "content": "Hel", "novel": 1})).expect("a chunk");
    assert!(matches!(chunk, Chunk::Content(text) if text.content == "Hel"));
}

#[test]
fn a_known_chunk_with_a_field_of_a_wrong_type_is_an_error() {
    assert!(from_value::<Chunk>(json!({"type": "content", "content": 1})).is_err());
    assert!(from_value::<ListChunk>(json!({"type": "models"})).is_err());
}

#[test]
fn a_word_that_is_not_listed_is_kept() {
    let word: FinishReason = from_value(json!("novel")).expect("any word can be read");
    assert_eq!(word, FinishReason::Unlisted("novel".to_owned()));
    assert_eq!(from_value::<FinishReason>(json!("other")).expect("a word"), FinishReason::Other);
}

#[test]
fn a_message_is_written_with_its_tags_and_without_what_is_absent() {
    let parts = vec![Part::from(TextPart::new("Hello"))];
    let chat = Chat { messages: Some(vec![Message::new(Role::User, parts)]), ..Chat::default() };
    let written = json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]});
    assert_eq!(to_value(&chat).expect("it can be written"), written);
    assert_eq!(from_value::<Chat>(written).expect("a chat"), chat);
}

#[test]
fn a_text_and_what_no_member_fits_are_contents() {
    assert_eq!(from_value::<MessageContent>(json!("Hi")).expect("a text"), MessageContent::from("Hi"));
    assert_eq!(from_value::<MessageContent>(json!(true)).expect("any"), MessageContent::Unlisted(json!(true)));
}

#[test]
fn a_reply_is_told_from_the_last_chunk_of_a_stream() {
    type Reply = Either<Vec<i64>, TextPart>;
    assert_eq!(from_value::<Reply>(json!([1])).expect("an answer"), Either::Answer(vec![1]));
    let done = json!({"type": "done", "text": "Hi"});
    assert_eq!(from_value::<Reply>(done).expect("a chunk"), Either::Done(TextPart::new("Hi")));
}
