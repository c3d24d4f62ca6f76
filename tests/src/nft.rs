//! Connection tracking, which the kernel does only in a namespace where some rule asks for it.

use std::thread;

use anyhow::{Context, Result, bail};
use nix::sys::socket::SockProtocol;

use crate::{
    netlink::{self, Message, attribute, name, nest},
    netns,
};

/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;
/// Messages of nfnetlink: a batch is done as a whole or not at all.
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

// The numbers of `linux/netfilter/nf_tables.h`, by their names there.
const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_NEWRULE: u16 = 6;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_CT_DREG: u16 = 1;
const NFTA_CT_KEY: u16 = 2;
const NFT_REG_1: u32 = 1;
const NFT_CT_STATE: u32 = 0;

const TABLE: &str = "lab";
const CHAIN: &str = "track";

/// Makes the kernel track the connections of the calling thread's namespace: a rule that looks at the state
/// of the connection (`ct state`), and does nothing. It ends with the namespace.
pub fn track_connections() -> Result<()> {
    let table = create(NFT_MSG_NEWTABLE).with_name(NFTA_TABLE_NAME, TABLE);
    let chain = create(NFT_MSG_NEWCHAIN).with_name(NFTA_CHAIN_TABLE, TABLE).with_name(NFTA_CHAIN_NAME, CHAIN);
    let load_state = nest(
        NFTA_EXPR_DATA,
        &[
            attribute(NFTA_CT_DREG, &NFT_REG_1.to_be_bytes()),
            attribute(NFTA_CT_KEY, &NFT_CT_STATE.to_be_bytes()),
        ],
    );
    let rule = create(NFT_MSG_NEWRULE)
        .with_name(NFTA_RULE_TABLE, TABLE)
        .with_name(NFTA_RULE_CHAIN, CHAIN)
        .with_nest(NFTA_RULE_EXPRESSIONS, &[nest(NFTA_LIST_ELEM, &[name(NFTA_EXPR_NAME, "ct"), load_state])]);
    let limit = |kind| Message::new(kind, &fixed(libc::AF_UNSPEC, SUBSYSTEM));
    let batch = [limit(BATCH_BEGIN), table, chain, rule, limit(BATCH_END)];
    netlink::send(SockProtocol::NetlinkNetFilter, &batch).context("nftables does not track connections")
}

/// Whether connections can be tracked on this kernel, tried in a namespace that is gone afterwards.
pub fn can_track_connections() -> Result<()> {
    let attempt = thread::spawn(|| netns::create().and_then(|()| track_connections()));
    match attempt.join() {
        Ok(result) => result,
        Err(_) => bail!("the attempt to track connections died"),
    }
}

fn create(message: u16) -> Message {
    Message::create(SUBSYSTEM << 8 | message, &fixed(libc::AF_INET, 0))
}

/// `struct nfgenmsg`: family, version 0, and what the batch is for.
fn fixed(family: i32, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family as u8, 0, high, low]
}
