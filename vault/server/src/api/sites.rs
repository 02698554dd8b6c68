//! Sites: where nodes stand, and whose law holds there.

use super::{Act, check_jurisdiction, check_name};
use crate::{
    authority::Holder,
    json::Json,
    problem::Answer,
    vault::{Shared, subject},
};
use axum::extract::State;
use strongroom_ledger::{Action, SubjectKind};
use strongroom_protocol::admin::{Recorded, Site};
use strongroom_store::{Change, model::SiteRow};

/// `POST /v1/sites`.
pub async fn create(State(vault): State<Shared>, holder: Holder, Json(site): Json<Site>) -> Answer<Json<Recorded>> {
    check_name("name", &site.name)?;
    check_jurisdiction("jurisdiction", &site.jurisdiction)?;
    let act = Act::by(&vault, &holder, Action::SiteCreated, subject(SubjectKind::Site, &site.name)).await?;
    let mut act = act.saying("jurisdiction", site.jurisdiction.clone());
    act.record.site = Some(site.name.clone());
    act.record.jurisdiction = Some(site.jurisdiction.clone());
    let row = SiteRow { name: site.name, jurisdiction: site.jurisdiction };
    Ok(Json(act.changing(Change::CreateSite(row)).commit(&vault).await?))
}

/// `GET /v1/sites`.
pub async fn list(State(vault): State<Shared>) -> Answer<Json<Vec<Site>>> {
    let sites = vault.store.sites().await?;
    Ok(Json(sites.into_iter().map(|s| Site { name: s.name, jurisdiction: s.jurisdiction }).collect()))
}
