//! Netlink, as little of it as the lab needs: messages with attributes, sent at once, each acknowledged.

use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, socket,
    },
};

const HEADER: usize = 16;
const NESTED: u16 = libc::NLA_F_NESTED as u16;
/// `NLMSG_ERROR`, which with the error 0 is an acknowledgement.
const ANSWER: u16 = libc::NLMSG_ERROR as u16;

/// One message: its kind, its flags, the fixed part that this kind has, and attributes.
#[derive(Clone, Debug)]
pub struct Message {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Message {
    /// A message without attributes that wants no answer.
    pub fn new(kind: u16, fixed: &[u8]) -> Self {
        Self { kind, flags: libc::NLM_F_REQUEST as u16, body: fixed.to_vec() }
    }

    /// A message that makes something, and is to be acknowledged.
    pub fn create(kind: u16, fixed: &[u8]) -> Self {
        let mut message = Self::new(kind, fixed);
        message.flags |= (libc::NLM_F_CREATE | libc::NLM_F_ACK) as u16;
        message
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, kind: u16, value: &[u8]) -> Self {
        self.body.extend(attribute(kind, value));
        self
    }

    /// Adds an attribute that is a string of the kernel's.
    #[must_use]
    pub fn with_name(self, kind: u16, name: &str) -> Self {
        self.with(kind, &terminated(name))
    }

    /// Adds an attribute made of attributes.
    #[must_use]
    pub fn with_nest(self, kind: u16, attributes: &[Vec<u8>]) -> Self {
        self.with(kind | NESTED, &attributes.concat())
    }

    fn wants_answer(&self) -> bool {
        i32::from(self.flags) & libc::NLM_F_ACK != 0
    }

    fn bytes(&self, sequence: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.body.len());
        bytes.extend(((HEADER + self.body.len()) as u32).to_ne_bytes());
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend(self.flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(&self.body);
        bytes
    }
}

/// One attribute, padded.
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::from(((4 + value.len()) as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// One attribute that is a string of the kernel's.
pub fn name(kind: u16, name: &str) -> Vec<u8> {
    attribute(kind, &terminated(name))
}

/// One attribute made of attributes.
pub fn nest(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NESTED, &attributes.concat())
}

fn terminated(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

/// Sends the messages in one go, in the network namespace of the calling thread, and waits for the answers.
pub fn send(protocol: SockProtocol, messages: &[Message]) -> Result<()> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
        .context("cannot open a netlink socket")?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    let bytes: Vec<u8> =
        messages.iter().zip(1..).flat_map(|(message, sequence)| message.bytes(sequence)).collect();
    sendto(socket.as_raw_fd(), &bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut outstanding = messages.iter().filter(|message| message.wants_answer()).count();
    let mut buffer = [0; 8192];
    while outstanding > 0 {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        for (sequence, refused) in answers(&buffer[..length]) {
            if let Some(errno) = refused {
                bail!("message {sequence} of {}: {errno}", messages.len());
            }
            outstanding = outstanding.saturating_sub(1);
        }
    }
    Ok(())
}

/// The sequence number of each answer in a datagram, and the errno where it is a refusal.
fn answers(mut datagram: &[u8]) -> Vec<(u32, Option<Errno>)> {
    let mut answers = Vec::new();
    let word = |bytes: &[u8], at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    while let (Some(length), Some(sequence)) = (word(datagram, 0), word(datagram, 8)) {
        let kind = u16::from_ne_bytes([datagram[4], datagram[5]]);
        if let (ANSWER, Some(error)) = (kind, word(datagram, HEADER)) {
            answers.push((sequence, (error != 0).then(|| Errno::from_raw(-error.cast_signed()))));
        }
        let next = (length as usize).max(HEADER).next_multiple_of(4);
        datagram = datagram.get(next..).unwrap_or_default();
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_but_their_length_is_not() {
        assert_eq!(name(3, "lo"), [7_u16.to_ne_bytes(), 3_u16.to_ne_bytes(), *b"lo", [0, 0]].concat());
        assert_eq!(nest(1, &[]), [4_u16.to_ne_bytes(), (1 | NESTED).to_ne_bytes()].concat());
    }

    #[test]
    fn answers_are_found_one_after_the_other() {
        let answer = |sequence, error: i32| {
            let mut message = Message::new(ANSWER, &error.to_ne_bytes());
            message = message.with(1, b"x");
            message.bytes(sequence)
        };
        let datagram = [answer(1, 0), Message::new(99, &[]).bytes(2), answer(3, -libc::ENOENT)].concat();
        assert_eq!(answers(&datagram), [(1, None), (3, Some(Errno::ENOENT))]);
        assert_eq!(answers(&datagram[..7]), []);
    }
}
