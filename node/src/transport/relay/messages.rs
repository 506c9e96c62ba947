//! The messages of libp2p's circuit relay v2, as far as a relay speaks them: each with its length before it.
//! <https://github.com/libp2p/specs/blob/master/relay/circuit-v2.md>
use std::io;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use prost::Message;

/// Longer messages are not read: the specification's bound.
const MESSAGE_BYTES_MAX: usize = 4096;

/// To a relay, and its answer.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Hop {
    #[prost(enumeration = "HopType", required, tag = "1")]
    pub(super) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) peer: Option<Peer>,
    #[prost(message, optional, tag = "3")]
    pub(super) reservation: Option<Reservation>,
    #[prost(enumeration = "Status", optional, tag = "5")]
    pub(super) status: Option<i32>,
}

/// From a relay to whom a circuit is wanted, and the answer.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Stop {
    #[prost(enumeration = "StopType", required, tag = "1")]
    pub(super) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) peer: Option<Peer>,
    #[prost(enumeration = "Status", optional, tag = "4")]
    pub(super) status: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Peer {
    #[prost(bytes = "vec", required, tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(super) addresses: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Reservation {
    /// Seconds since the Unix epoch.
    #[prost(uint64, required, tag = "1")]
    pub(super) expire: u64,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(super) addresses: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum HopType {
    Reserve = 0,
    Connect = 1,
    Status = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum StopType {
    Connect = 0,
    Status = 1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Status {
    Unused = 0,
    Ok = 100,
    ReservationRefused = 200,
    ResourceLimitExceeded = 201,
    PermissionDenied = 202,
    ConnectionFailed = 203,
    NoReservation = 204,
    MalformedMessage = 400,
    UnexpectedMessage = 401,
}

impl Hop {
    pub(super) fn answer(status: Status) -> Self {
        Self { kind: HopType::Status.into(), peer: None, reservation: None, status: Some(status.into()) }
    }
}

/// Reads one message. Byte by byte for its length: what follows the message is the circuit's.
pub(super) async fn read<M: Message + Default>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<M> {
    let mut len = 0_usize;
    for shift in [0, 7, 14] {
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        len |= usize::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    if len > MESSAGE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message to a relay is too long"));
    }
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await?;
    M::decode(&bytes[..]).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Writes one message.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), message: &impl Message) -> io::Result<()> {
    stream.write_all(&message.encode_length_delimited_to_vec()).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_is_read_up_to_its_end_and_one_that_is_too_long_not_at_all() {
        let hop = Hop { peer: Some(Peer { id: vec![7; 300], addresses: vec![] }), ..Hop::answer(Status::Ok) };
        let mut bytes = hop.encode_length_delimited_to_vec();
        bytes.extend_from_slice(b"the circuit");
        let mut rest = &bytes[..];
        assert_eq!(read::<Hop>(&mut rest).await.unwrap(), hop);
        assert_eq!(rest, b"the circuit");
        assert!(read::<Hop>(&mut &[0xff, 0xff, 0x03][..]).await.is_err());
        assert!(read::<Hop>(&mut &[0x05, 0xff, 0xff, 0xff, 0xff, 0xff][..]).await.is_err());
    }
}
