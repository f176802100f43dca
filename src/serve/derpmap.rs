//! Where the map of relays comes from: URLs, then files, then this server's own region.
//!
//! Nothing here waits at the start: what a URL last gave is kept by the caller and serves until it
//! answers again. A document that is broken, or that would break the map, leaves the map as it is.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::BoxedLocal;
use gramscale_proto::wire::derpmap::{DerpMap, Document, DocumentError, MapError, Region};
use gramscale_proto::wire::sorted::Map;
use serde_json::Value;

/// Bytes of a document at most: Tailscale's own map has 40 KB.
pub const MAX_DOCUMENT: usize = 1 << 20;

/// After a failed fetch, the next comes after this; then twice that, and so on.
const RETRY_FIRST: Duration = Duration::from_secs(10);
/// The longest wait between failed fetches.
const RETRY_LAST: Duration = Duration::from_secs(600);

/// What the map is put together from, in this order; the later wins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sources {
    /// JSON documents to be fetched.
    pub urls: Vec<String>,
    /// YAML or JSON documents in files.
    pub paths: Vec<PathBuf>,
    /// Regions of the settings, as a JSON document; empty if there are none.
    pub regions: String,
    /// The region of this server, with its number.
    pub own: Option<(u16, Region)>,
    /// How often the URLs are fetched again; `None`: once.
    pub update_every: Option<Duration>,
}

/// What the caller does for the map.
pub trait Hooks {
    /// Fetches a URL, at most [`MAX_DOCUMENT`] bytes, within a time limit.
    fn fetch(&self, url: &str) -> BoxedLocal<Result<Vec<u8>, String>>;

    /// Reads YAML as JSON; also gets JSON, which is YAML, from files not named `.json`.
    fn yaml(&self, text: &str) -> Result<Value, String>;

    /// Keeps what a URL gave, for [`DerpMaps::open`] after a restart.
    fn keep(&self, url: &str, text: &[u8]);

    /// What was kept of a URL.
    fn kept(&self, url: &str) -> Option<Vec<u8>>;

    /// The map has changed.
    fn changed(&self, map: &Rc<DerpMap>);
}

/// The map and its sources.
pub struct DerpMaps {
    hooks: Rc<dyn Hooks>,
    state: RefCell<State>,
}

#[derive(Clone)]
struct State {
    sources: Rc<Sources>,
    /// What the URLs last gave.
    fetched: Map<String, Document>,
    files: Vec<Document>,
    map: Rc<DerpMap>,
}

impl DerpMaps {
    /// Reads the files, and what was kept of the URLs.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is no map, or sources that do not go together.
    pub fn open(sources: Sources, hooks: Rc<dyn Hooks>) -> Result<Rc<Self>, SourceError> {
        let mut fetched = Map::new();
        for url in &sources.urls {
            match hooks.kept(url).map(|text| Document::from_json(&text)) {
                Some(Ok(document)) => drop(fetched.insert(url.clone(), document)),
                Some(Err(error)) => log::warn!("the stored copy of {url} is ignored: {error}"),
                None => {}
            }
        }
        let files = read_files(&sources, &*hooks)?;
        let sources = Rc::new(sources);
        let mut state = State { sources, fetched, files, map: Rc::default() };
        state.map = Rc::new(state.put_together()?);
        if state.map.regions.is_empty() {
            log::warn!("the DERP map is empty as yet: clients need one region to connect");
        }
        Ok(Rc::new(Self { hooks, state: RefCell::new(state) }))
    }

    /// The map as it is now.
    pub fn map(&self) -> Rc<DerpMap> {
        self.state.borrow().map.clone()
    }

    /// Takes new sources and reads the files again; on an error all stays as it was. What URLs gave
    /// is kept; [`Self::update`] fetches new ones.
    pub fn reload(&self, sources: Sources) -> Result<(), SourceError> {
        let files = read_files(&sources, &*self.hooks)?;
        let mut state = self.state.borrow().clone();
        state.fetched.retain(|url, _| sources.urls.contains(url));
        state.sources = Rc::new(sources);
        state.files = files;
        self.replace(state)
    }

    /// Takes another region of this server, or none; on an error all stays as it was.
    pub fn set_own(&self, own: Option<(u16, Region)>) -> Result<(), SourceError> {
        let mut state = self.state.borrow().clone();
        if state.sources.own == own {
            return Ok(());
        }
        state.sources = Rc::new(Sources { own, ..Sources::clone(&state.sources) });
        self.replace(state)
    }

    /// Fetches all URLs once; whether all went well.
    pub async fn update(&self) -> bool {
        let sources = self.state.borrow().sources.clone();
        let mut well = true;
        for url in &sources.urls {
            let result = match self.hooks.fetch(url).await {
                Ok(text) => self.take(url, &text).map_err(|error| error.to_string()),
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                log::warn!("no new DERP map from {url}: {error}");
                well = false;
            }
        }
        well
    }

    /// Fetches the URLs now and then as the sources say, for ever.
    pub async fn keep_up(self: Rc<Self>) {
        let mut retry = RETRY_FIRST;
        loop {
            let every = self.state.borrow().sources.update_every;
            let wait = if self.update().await {
                retry = RETRY_FIRST;
                every
            } else {
                let wait = every.map_or(retry, |every| every.min(retry));
                retry = (retry * 2).min(RETRY_LAST);
                Some(wait)
            };
            match wait {
                Some(wait) => gramscale_rt::sleep(wait).await,
                None => return,
            }
        }
    }

    /// Takes in what a URL gave, if the map is none the worse for it.
    fn take(&self, url: &str, text: &[u8]) -> Result<(), SourceError> {
        let document = Document::from_json(text)
            .map_err(|error| SourceError::Document(url.to_owned(), error))?;
        let mut state = self.state.borrow().clone();
        if state.fetched.get(url) == Some(&document) {
            return Ok(());
        }
        if !state.sources.urls.iter().any(|known| known == url) {
            // The sources have changed meanwhile.
            return Ok(());
        }
        state.fetched.insert(url.to_owned(), document);
        self.replace(state)?;
        self.hooks.keep(url, text);
        Ok(())
    }

    fn replace(&self, mut state: State) -> Result<(), SourceError> {
        let map = state.put_together()?;
        let changed = map != *state.map;
        if changed {
            state.map = Rc::new(map);
        }
        let map = state.map.clone();
        *self.state.borrow_mut() = state;
        if changed {
            self.hooks.changed(&map);
        }
        Ok(())
    }
}

impl State {
    fn put_together(&self) -> Result<DerpMap, SourceError> {
        let mut map = DerpMap::default();
        let urls = self.sources.urls.iter().filter_map(|url| self.fetched.get(url));
        urls.chain(&self.files).for_each(|document| map.merge(document));
        if let Some((id, region)) = &self.sources.own {
            map.regions.insert(*id, region.clone());
        }
        map.check().map_err(SourceError::Map)?;
        Ok(map)
    }
}

fn read_files(sources: &Sources, hooks: &dyn Hooks) -> Result<Vec<Document>, SourceError> {
    let mut files: Vec<_> =
        sources.paths.iter().map(|path| read_file(path, hooks)).collect::<Result<_, _>>()?;
    if !sources.regions.is_empty() {
        let document = Document::from_json(sources.regions.as_bytes());
        files.push(document.map_err(|e| SourceError::Document("derp_region".into(), e))?);
    }
    Ok(files)
}

fn read_file(path: &Path, hooks: &dyn Hooks) -> Result<Document, SourceError> {
    let name = || path.display().to_string();
    let unreadable = |error| SourceError::File(path.to_owned(), error);
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > MAX_DOCUMENT as u64 {
        return Err(SourceError::TooLarge(path.to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let document = if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")) {
        Document::from_json(text.as_bytes())
    } else {
        let value = hooks.yaml(&text).map_err(|error| SourceError::Yaml(name(), error))?;
        Document::from_value(&value)
    };
    let document = document.map_err(|error| SourceError::Document(name(), error))?;
    for unknown in &document.unknown {
        log::warn!("{}: {unknown} is not known and ignored", name());
    }
    Ok(document)
}

/// Why a source gives no map.
#[derive(Debug)]
pub enum SourceError {
    /// A file or URL is no map.
    Document(String, DocumentError),
    /// A file cannot be read.
    File(PathBuf, io::Error),
    /// The sources do not go together.
    Map(MapError),
    /// A file is longer than [`MAX_DOCUMENT`].
    TooLarge(PathBuf),
    /// A file is not YAML.
    Yaml(String, String),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(name, error) => write!(f, "{name}: {error}"),
            Self::File(path, error) => {
                write!(f, "the DERP map {} cannot be read: {error}", path.display())
            }
            Self::Map(error) => error.fmt(f),
            Self::TooLarge(path) => {
                write!(f, "the DERP map {} is longer than 1 MiB", path.display())
            }
            Self::Yaml(name, error) => write!(f, "{name}: {error}"),
        }
    }
}

impl std::error::Error for SourceError {}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// The rest of the world.
    #[derive(Default)]
    struct World {
        /// What each URL gives now.
        web: RefCell<Map<String, String>>,
        kept: RefCell<Map<String, Vec<u8>>>,
        changes: Cell<u32>,
        fetches: Cell<u32>,
    }

    impl Hooks for World {
        fn fetch(&self, url: &str) -> BoxedLocal<Result<Vec<u8>, String>> {
            self.fetches.set(self.fetches.get() + 1);
            let text = self.web.borrow().get(url).cloned();
            let result = text.map(String::into_bytes).ok_or_else(|| "away".to_owned());
            Box::pin(std::future::ready(result))
        }

        fn yaml(&self, text: &str) -> Result<Value, String> {
            serde_json::from_str(text).map_err(|error| error.to_string())
        }

        fn keep(&self, url: &str, text: &[u8]) {
            self.kept.borrow_mut().insert(url.to_owned(), text.to_owned());
        }

        fn kept(&self, url: &str) -> Option<Vec<u8>> {
            self.kept.borrow().get(url).cloned()
        }

        fn changed(&self, _: &Rc<DerpMap>) {
            self.changes.set(self.changes.get() + 1);
        }
    }

    impl World {
        fn open(self: &Rc<Self>, sources: &Sources) -> Result<Rc<DerpMaps>, SourceError> {
            DerpMaps::open(sources.clone(), self.clone())
        }

        fn serve(&self, url: &str, text: &str) {
            self.web.borrow_mut().insert(url.to_owned(), text.to_owned());
        }
    }

    fn document(regions: &[(u16, &str)]) -> String {
        let region = |(id, name): &(u16, &str)| {
            format!(r#""{id}":{{"Nodes":[{{"Name":"{name}","HostName":"{name}.example"}}]}}"#)
        };
        let regions: Vec<_> = regions.iter().map(region).collect();
        format!(r#"{{"Regions":{{{}}}}}"#, regions.join(","))
    }

    fn names(maps: &DerpMaps) -> String {
        let map = maps.map();
        let node = |(id, region): (&u16, &Region)| format!("{id}:{}", region.nodes[0].name);
        map.regions.iter().map(node).collect::<Vec<_>>().join(" ")
    }

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("gramscale-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn later_sources_win() {
        let folder = folder("derpmap");
        let (one, two) = (folder.join("one.yaml"), folder.join("two.json"));
        std::fs::write(&one, document(&[(2, "two-by-file"), (3, "three")])).unwrap();
        std::fs::write(&two, r#"{"regions":{"1":null}}"#).unwrap();
        let world = Rc::new(World::default());
        world.serve("u", &document(&[(1, "one"), (2, "two"), (4, "four")]));
        let own = Document::from_json(document(&[(9, "own")]).as_bytes()).unwrap();
        let sources = Sources {
            urls: vec!["u".into()],
            paths: vec![one.clone(), two],
            regions: String::new(),
            own: Some((9, own.regions[&9].clone().unwrap())),
            update_every: None,
        };
        let maps = world.open(&sources).unwrap();
        assert_eq!(names(&maps), "2:two-by-file 3:three 9:own");
        gramscale_rt::block_on(async {
            // Returns, as nothing is to be updated.
            maps.clone().keep_up().await;
            assert_eq!(names(&maps), "2:two-by-file 3:three 4:four 9:own");
            assert_eq!((world.changes.get(), world.fetches.get()), (1, 1));
            assert!(maps.update().await);
            assert_eq!(world.changes.get(), 1, "nothing has changed");
        });
        // A file that is broken leaves all as it was; a good one is taken.
        std::fs::write(&one, "{").unwrap();
        assert!(matches!(maps.reload(sources.clone()), Err(SourceError::Yaml(..))));
        std::fs::write(&one, r#"{"regions":{"x":{}}}"#).unwrap();
        let error = maps.reload(sources.clone()).unwrap_err().to_string();
        assert!(
            error
                .ends_with("one.yaml: regions.x: expected a region number from 1 to 65535 as name"),
            "{error}"
        );
        assert_eq!(names(&maps), "2:two-by-file 3:three 4:four 9:own");
        std::fs::write(&one, document(&[(3, "new")])).unwrap();
        maps.reload(sources).unwrap();
        assert_eq!(names(&maps), "2:two 3:new 4:four 9:own");
        assert_eq!(world.changes.get(), 2);
        // Another region of our own reads no file again.
        std::fs::write(&one, "{").unwrap();
        let region = |name: &str| {
            let document = Document::from_json(document(&[(9, name)]).as_bytes()).unwrap();
            Some((9, document.regions[&9].clone().unwrap()))
        };
        for (own, names_now, changes) in [
            (region("moved"), "2:two 3:new 4:four 9:moved", 3),
            (region("moved"), "2:two 3:new 4:four 9:moved", 3),
            (None, "2:two 3:new 4:four", 4),
        ] {
            maps.set_own(own).unwrap();
            assert_eq!((names(&maps).as_str(), world.changes.get()), (names_now, changes));
        }
        assert!(maps.set_own(region("four")).is_err(), "one name twice");
        assert_eq!(names(&maps), "2:two 3:new 4:four");
        std::fs::remove_dir_all(folder).unwrap();
        let missing = Sources { paths: vec![one], ..Sources::default() };
        assert!(matches!(world.open(&missing), Err(SourceError::File(..))));
    }

    #[test]
    fn the_last_good_copy_serves() {
        let world = Rc::new(World::default());
        let sources = Sources { urls: vec!["u".into(), "v".into()], ..Sources::default() };
        world.serve("u", &document(&[(1, "one")]));
        let maps = world.open(&sources).unwrap();
        assert_eq!(names(&maps), "");
        gramscale_rt::block_on(async {
            assert!(!maps.update().await, "v is away");
            assert_eq!(names(&maps), "1:one");
            for (text, why) in [
                ("<html>", "no JSON"),
                (r#"{"Regions":{"1":{}}}"#, "a region without nodes"),
                (&document(&[(1, "same"), (2, "same")]), "one name twice"),
            ] {
                world.serve("u", text);
                assert!(!maps.update().await, "{why}");
                assert_eq!(names(&maps), "1:one", "{why}");
            }
            // After a restart without a net it is still there.
            world.web.borrow_mut().clear();
            let maps = world.open(&sources).unwrap();
            assert_eq!(names(&maps), "1:one");
            world.serve("u", &document(&[(1, "other")]));
            world.serve("v", &document(&[(2, "two")]));
            assert!(maps.update().await);
            assert_eq!(names(&maps), "1:other 2:two");
        });
        world.kept.borrow_mut().insert("u".into(), b"rubbish".to_vec());
        assert_eq!(names(&world.open(&sources).unwrap()), "2:two");
    }

    #[test]
    fn failures_are_tried_again() {
        gramscale_rt::block_on(async {
            let world = Rc::new(World::default());
            let update_every = Some(Duration::from_millis(20));
            let sources = Sources { urls: vec!["u".into()], update_every, ..Sources::default() };
            let maps = world.open(&sources).unwrap();
            let keeping = gramscale_rt::spawn(maps.clone().keep_up());
            while world.fetches.get() < 3 {
                gramscale_rt::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(names(&maps), "");
            world.serve("u", &document(&[(1, "one")]));
            while names(&maps) != "1:one" {
                gramscale_rt::sleep(Duration::from_millis(5)).await;
            }
            drop(keeping);
        });
    }
}
