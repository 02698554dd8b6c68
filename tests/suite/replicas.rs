//! Several replicas of one vault, over one PostgreSQL database: any of them serves any request, and they
//! write one ledger.

mod ledger;
mod requests;
