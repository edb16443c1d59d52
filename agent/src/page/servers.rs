//! The servers of immudb, with how far each database is behind.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::lookup::Server;

/// Shows every server, if there is one.
pub(super) fn section(servers: &BTreeMap<String, Server>) -> Markup {
    html! {
        @if !servers.is_empty() {
            section {
                h2 { "immudb" }
                @for (name, server) in servers { (self::server(name, server)) }
            }
        }
    }
}

fn server(name: &str, server: &Server) -> Markup {
    let (label, class) = if server.ready {
        ("Serving", "good")
    } else {
        ("Not serving", "bad")
    };
    html! {
        article {
            div.head {
                h3 { (name) " " span.quiet { (server.role) } }
                span class={ "badge " (class) } { (label) }
            }
            @if !server.ready { p.message { (server.message) } }
            dl {
                @for database in &server.databases {
                    dt { (database.name) }
                    dd {
                        @match database.transaction {
                            Some(number) => { "transaction " (number) }
                            None => { "not there" }
                        }
                        @if let Some(lag) = database.lag { ", " (behind(lag)) }
                        @match database.state_match {
                            Some(true) => { ", same history as the primary" }
                            Some(false) => { ", " strong.bad { "another history than the primary" } }
                            None => {}
                        }
                    }
                }
            }
        }
    }
}

fn behind(lag: u64) -> String {
    match lag {
        0 => "nothing behind".to_owned(),
        1 => "1 transaction behind".to_owned(),
        more => format!("{more} transactions behind"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::Database;

    #[test]
    fn servers_show_what_they_lack() {
        let database = |lag: Option<u64>, state_match| Database {
            name: "defaultdb".to_owned(),
            transaction: Some(12),
            lag,
            state_match,
        };
        for (ready, database, expected) in [
            (true, database(None, None), "<dd>transaction 12</dd>"),
            (
                true,
                database(Some(3), Some(true)),
                "transaction 12, 3 transactions behind, same history as the primary",
            ),
            (
                false,
                database(Some(0), Some(false)),
                "nothing behind, <strong class=\"bad\">another history than the primary",
            ),
        ] {
            let server = Server {
                ready,
                role: "replica".to_owned(),
                reason: String::new(),
                message: "why not".to_owned(),
                databases: vec![database],
            };
            let page = section(&BTreeMap::from([("a/b".to_owned(), server)])).into_string();
            assert!(page.contains(expected), "`{expected}` is not in {page}");
            let why = page.contains("Not serving</span></div><p class=\"message\">why not");
            assert_eq!(why, !ready, "{page}");
        }
    }
}
