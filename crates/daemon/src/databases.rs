//! Which database a name means: an entry, an entry with a suffix, or one of the many behind `"*"`.
//!
//! Whether the database exists on a node is not known here. Entries behind `"*"` are made when a client enters one,
//! and forgotten when nobody is left in them and their number reaches its limit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use engine::route::RouteMode;

use crate::config::{DatabaseName, DatabaseSettings, Suffixes};
use crate::world::{Cluster, Database};

/// Most entries made on demand.
const MADE_MAX: usize = 1000;

/// The databases of the settings in force.
pub(crate) struct Databases {
    suffixes: Suffixes,
    named: BTreeMap<String, (DatabaseSettings, Arc<Database>)>,
    any: Option<(DatabaseSettings, Arc<Cluster>)>,
    made: Mutex<BTreeMap<String, Arc<Database>>>,
    /// Counts the reloads.
    generation: u64,
}

/// What a name means.
pub(crate) enum Meaning<'n> {
    /// An entry of the settings.
    Entry(Arc<Database>, RouteMode),
    /// A database of this cluster; which of the two is decided by what exists there.
    Any {
        /// The cluster of the `"*"` entry.
        cluster: Arc<Cluster>,
        /// The name without its suffix, if it has one, and what the suffix asks for.
        suffixed: Option<(&'n str, RouteMode)>,
        /// The name as it stands.
        whole: &'n str,
    },
    /// None.
    Unknown,
}

impl Databases {
    /// The databases of these settings; entries that did not change are taken over from `before`.
    pub(crate) fn new(
        settings: &[DatabaseSettings],
        suffixes: &Suffixes,
        (clusters, before): (&[Arc<Cluster>], Option<&Databases>),
    ) -> Databases {
        let generation = before.map_or(0, |before| before.generation + 1);
        let mut named = BTreeMap::new();
        let mut any = None;
        let mut made = BTreeMap::new();
        for settings in settings {
            let Some(cluster) = clusters.get(settings.cluster) else { continue };
            match &settings.name {
                DatabaseName::Named(name) => {
                    let server_name = settings.server_name.as_deref().unwrap_or(name);
                    let old = before.and_then(|before| before.named.get(name));
                    let database = match old {
                        Some((old, database)) if old == settings => Arc::clone(database),
                        old => {
                            let old = old.map(|(_, database)| database);
                            build((settings, generation), (name, server_name), cluster, old)
                        }
                    };
                    named.insert(name.clone(), (settings.clone(), database));
                }
                DatabaseName::Any => {
                    let old = before.and_then(|before| Some((before, before.any.as_ref()?)));
                    if let Some((before, (old, _))) = old {
                        let known = before.made.lock().unwrap_or_else(PoisonError::into_inner);
                        made = if old == settings {
                            known.clone()
                        } else {
                            let anew = |(name, old): (&String, &Arc<Database>)| {
                                let new = build((settings, generation), (name, name), cluster, Some(old));
                                (name.clone(), new)
                            };
                            known.iter().map(anew).collect()
                        };
                    }
                    any = Some((settings.clone(), Arc::clone(cluster)));
                }
            }
        }
        Databases { suffixes: suffixes.clone(), named, any, made: Mutex::new(made), generation }
    }

    /// What a client means by `name`. An entry of that very name wins over a suffix.
    pub(crate) fn meaning<'n>(&self, name: &'n str) -> Meaning<'n> {
        if let Some((_, database)) = self.named.get(name) {
            return Meaning::Entry(Arc::clone(database), RouteMode::Auto);
        }
        let suffixed = self.without_suffix(name);
        if let Some((base, mode)) = suffixed
            && let Some((_, database)) = self.named.get(base)
        {
            return Meaning::Entry(Arc::clone(database), mode);
        }
        match &self.any {
            Some((_, cluster)) => Meaning::Any { cluster: Arc::clone(cluster), suffixed, whole: name },
            None => Meaning::Unknown,
        }
    }

    fn without_suffix<'n>(&self, name: &'n str) -> Option<(&'n str, RouteMode)> {
        let suffixes =
            [(&self.suffixes.read_only, RouteMode::ReadOnly), (&self.suffixes.primary, RouteMode::Primary)];
        suffixes
            .into_iter()
            .filter(|(suffix, _)| !suffix.is_empty())
            .find_map(|(suffix, mode)| Some((name.strip_suffix(suffix.as_str())?, mode)))
            .filter(|(base, _)| !base.is_empty())
    }

    /// The entry behind `"*"` for a database that exists. `None`: there are too many already.
    pub(crate) fn make(&self, name: &str) -> Option<Made> {
        let (settings, cluster) = self.any.as_ref()?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = made.get(name) {
            return Some(Made { database: Arc::clone(database), new: false });
        }
        if made.len() >= MADE_MAX {
            // One reference is this map's.
            made.retain(|_, database| Arc::strong_count(database) > 1);
        }
        if made.len() >= MADE_MAX {
            return None;
        }
        let database = build((settings, self.generation), (name, name), cluster, None);
        made.insert(name.to_owned(), Arc::clone(&database));
        Some(Made { database, new: true })
    }

    /// All there are at this moment: those of the settings, then those made.
    pub(crate) fn all(&self) -> Vec<Arc<Database>> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        self.named.values().map(|(_, database)| database).chain(made.values()).cloned().collect()
    }
}

/// An entry made on demand.
pub(crate) struct Made {
    pub(crate) database: Arc<Database>,
    /// Whether this call made it.
    pub(crate) new: bool,
}

/// A changed entry keeps what was learned about the database itself.
fn build(
    (settings, generation): (&DatabaseSettings, u64),
    (name, server_name): (&str, &str),
    cluster: &Arc<Cluster>,
    before: Option<&Arc<Database>>,
) -> Arc<Database> {
    let same =
        before.filter(|before| before.server_name == server_name && Arc::ptr_eq(&before.cluster, cluster));
    let catalogue = match same {
        Some(before) => before.catalogue.load_full(),
        None => Arc::new(sql::Catalogue::builtin()),
    };
    Arc::new(Database {
        name: name.to_owned(),
        server_name: server_name.to_owned(),
        cluster: Arc::clone(cluster),
        catalogue: ArcSwap::new(catalogue),
        pool: settings.pool.clone(),
        reads: settings.reads,
        limits: settings.limits,
        generation,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::{Overrides, Settings, load_text};

    pub(crate) fn settings(more: &str) -> Settings {
        let text =
            format!("auth_type = \"trust\"\n[[cluster]]\nname = \"main\"\nnodes = [\"127.0.0.1:1\"]\n{more}");
        load_text("test", &text, [], &Overrides::default()).unwrap()
    }

    pub(crate) fn clusters(settings: &Settings) -> Vec<Arc<Cluster>> {
        settings.clusters.iter().map(|settings| Arc::new(Cluster::new(settings.name.clone()))).collect()
    }

    fn check(databases: &Databases, name: &str, expected: &str) {
        let found = match databases.meaning(name) {
            Meaning::Entry(database, mode) => format!("{} {mode:?}", database.name),
            Meaning::Any { suffixed, whole, .. } => format!("any {suffixed:?} {whole}"),
            Meaning::Unknown => "unknown".to_owned(),
        };
        assert_eq!(found, expected, "{name}");
    }

    #[test]
    fn a_suffix_asks_for_a_route_unless_an_entry_has_that_very_name() {
        let settings = settings(
            "[[database]]\nname = \"app\"\n[[database]]\nname = \"app_ro\"\n[[database]]\nname = \"_rw\"\n",
        );
        let databases = Databases::new(&settings.databases, &settings.suffixes, (&clusters(&settings), None));
        check(&databases, "app", "app Auto");
        check(&databases, "app_ro", "app_ro Auto");
        check(&databases, "app_ro_ro", "app_ro ReadOnly");
        check(&databases, "app_rw", "app Primary");
        check(&databases, "_rw", "_rw Auto");
        check(&databases, "_ro", "unknown");
        check(&databases, "other", "unknown");
        check(&databases, "", "unknown");
    }

    #[test]
    fn a_star_serves_what_has_no_entry() {
        let settings =
            settings("[[database]]\nname = \"*\"\n[[database]]\nname = \"app\"\nserver_name = \"real\"\n");
        let databases = Databases::new(&settings.databases, &settings.suffixes, (&clusters(&settings), None));
        check(&databases, "app_ro", "app ReadOnly");
        check(&databases, "x", "any None x");
        check(&databases, "x_rw", "any Some((\"x\", Primary)) x_rw");
        let made = databases.make("x").unwrap();
        assert!(made.new && !databases.make("x").unwrap().new);
        assert_eq!(databases.all().iter().map(|d| d.server_name.clone()).collect::<Vec<_>>(), ["real", "x"]);
    }

    #[test]
    fn entries_on_demand_have_a_limit_and_make_room_when_unused() {
        let settings = settings("");
        let databases = Databases::new(&settings.databases, &settings.suffixes, (&clusters(&settings), None));
        let mut held: Vec<_> =
            (0..MADE_MAX).map(|i| databases.make(&i.to_string()).unwrap().database).collect();
        assert!(databases.make("one more").is_none());
        held.pop();
        assert!(databases.make("one more").is_some());
    }

    #[test]
    fn a_reload_keeps_unchanged_entries_and_rebuilds_changed_ones() {
        let text = "[[database]]\nname = \"a\"\n[[database]]\nname = \"b\"\n[[database]]\nname = \"*\"\n";
        let old = settings(text);
        let clusters = clusters(&old);
        let before = Databases::new(&old.databases, &old.suffixes, (&clusters, None));
        let made = before.make("x").unwrap().database;
        let new = settings(&text.replace("\"b\"\n", "\"b\"\npool_size = 3\n"));
        let after = Databases::new(&new.databases, &new.suffixes, (&clusters, Some(&before)));
        let entry = |databases: &Databases, name: &str| match databases.meaning(name) {
            Meaning::Entry(database, _) => database,
            _ => panic!("{name}"),
        };
        assert!(Arc::ptr_eq(&entry(&before, "a"), &entry(&after, "a")));
        assert!(!Arc::ptr_eq(&entry(&before, "b"), &entry(&after, "b")));
        assert_eq!(entry(&after, "b").pool.size, 3);
        assert!(Arc::ptr_eq(&made, &after.make("x").unwrap().database));
    }
}
