//! What the generated types are made of, and JSON as it came.

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::Value;

/// JSON as it came: nothing is lost, not even what no type here knows. `serde_json::from_str(raw.get())` reads it.
pub type Raw = Box<RawValue>;

/// An action with its types. `types::actions` has all.
pub trait TypedAction {
    const NAME: &'static str;
    type Params: Serialize;
    type Chunk: DeserializeOwned;
    type Reply: DeserializeOwned;
}

/// The reply to an action that answers with one line or with a stream, as its parameters say.
#[derive(Debug, Clone, PartialEq)]
pub enum Either<A, D> {
    Answer(A),
    /// The last chunk of a stream.
    Done(D),
}

impl<'de, A: DeserializeOwned, D: DeserializeOwned> Deserialize<'de> for Either<A, D> {
    fn deserialize<S: Deserializer<'de>>(deserializer: S) -> Result<Self, S::Error> {
        let value = Value::deserialize(deserializer)?;
        let read = match value["type"].as_str() {
            Some("done") => serde_json::from_value(value).map(Self::Done),
            _ => serde_json::from_value(value).map(Self::Answer),
        };
        read.map_err(S::Error::custom)
    }
}

/// A member of a union with its tag, as it is written.
#[derive(Serialize)]
pub(crate) struct WithTag<'a, T> {
    pub r#type: &'static str,
    #[serde(flatten)]
    pub own: &'a T,
}

/// Words; one that is not listed is kept as it came.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($word:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name {
            $($word,)+
            Unlisted(String),
        }

        impl $name {
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$word => $text,)+
                    Self::Unlisted(text) => text,
                }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$word,)+
                    _ => Self::Unlisted(text.to_owned()),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                Ok(Self::from(text.as_ref()))
            }
        }
    };
}

/// A union whose members a tag tells apart; one whose tag is not listed is kept as it came.
macro_rules! tagged {
    ($(#[$doc:meta])* $name:ident by "type" { $($member:ident = $tag:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $name {
            $($member($member),)+
            Unlisted(Value),
        }

        $(impl From<$member> for $name {
            fn from(value: $member) -> Self {
                Self::$member(value)
            }
        })+

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$member(own) => crate::json::WithTag { r#type: $tag, own }.serialize(serializer),)+
                    Self::Unlisted(value) => value.serialize(serializer),
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = Value::deserialize(deserializer)?;
                let read = match value["type"].as_str() {
                    $(Some($tag) => serde_json::from_value(value).map(Self::$member),)+
                    _ => Ok(Self::Unlisted(value)),
                };
                read.map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use {tagged, words};
