use super::*;
use std::os::unix::fs::PermissionsExt;

const DAY: u64 = 24 * 3600 * 1000;
const NOW: WallMillis = WallMillis(20_000 * DAY);

fn after_days(days: u64) -> WallMillis {
    WallMillis(NOW.0 + days * DAY)
}

struct Made {
    dir: tempfile::TempDir,
    folder: Arc<Folder>,
}

impl Made {
    async fn new() -> Made {
        let dir = tempfile::tempdir().unwrap();
        let folder = Arc::new(Folder::take(&dir.path().join("data")).await.unwrap());
        Made { dir, folder }
    }

    fn ca(&self, domains: &[&str]) -> LocalCa {
        let domains: Vec<String> = domains.iter().map(|domain| (*domain).to_owned()).collect();
        LocalCa::new(Arc::clone(&self.folder), "10.1.2.3:9443".parse().unwrap(), &domains)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join("data").join(name)).unwrap()
    }
}

fn serves(ca: &LocalCa, server: &str, authority: &str, now: WallMillis) -> bool {
    ca.serves(server, authority, (&ca.names.now().unwrap(), now))
}

#[tokio::test]
async fn it_is_made_once_and_for_all_names() {
    let made = Made::new().await;
    let ca = made.ca(&["s3.example.com"]);
    assert_eq!(ca.renew(NOW).unwrap(), Renewed::Authority);
    ca.files().check().unwrap();
    let server = made.read(SERVER);
    let pem = parse(&server).unwrap();
    let certificate = pem.parse_x509().unwrap();
    let expected = ["*.s3.example.com", "10.1.2.3", "127.0.0.1", "::1", "localhost", "s3.example.com"]
        .map(str::to_owned);
    assert_eq!(names(&certificate).unwrap(), expected.into());
    assert!(!certificate.is_ca());
    let authority = made.read(CA);
    let pem = parse(&authority).unwrap();
    assert!(pem.parse_x509().unwrap().is_ca());
    for name in [CA_KEY, SERVER] {
        let mode = std::fs::metadata(made.folder.path.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    for days in [0, 1, 59] {
        assert_eq!(ca.renew(after_days(days)).unwrap(), Renewed::Nothing, "{days}");
    }
    assert_eq!((made.read(SERVER), made.read(CA)), (server, authority));
}

#[tokio::test]
async fn the_servers_certificate_is_renewed_before_it_ends_and_the_authority_stays() {
    let made = Made::new().await;
    let ca = made.ca(&[]);
    ca.renew(NOW).unwrap();
    let (server, authority) = (made.read(SERVER), made.read(CA));
    assert_eq!(ca.renew(after_days(61)).unwrap(), Renewed::Server);
    assert!(made.read(SERVER) != server && made.read(CA) == authority);
    assert!(!serves(&ca, &server, &authority, after_days(61)) && serves(&ca, &server, &authority, NOW));
    // Another name, and a file that is no certificate.
    let ca = made.ca(&["s3.test"]);
    assert_eq!(ca.renew(after_days(61)).unwrap(), Renewed::Server);
    made.folder.write(SERVER, b"torn").unwrap();
    assert_eq!(ca.renew(after_days(61)).unwrap(), Renewed::Server);
    ca.files().check().unwrap();
    // Ten years on.
    assert_eq!(ca.renew(after_days(3640)).unwrap(), Renewed::Authority);
    assert!(made.read(CA) != authority);
    assert!(serves(&ca, &made.read(SERVER), &made.read(CA), after_days(3640)));
}

#[tokio::test]
async fn a_damaged_authority_is_told_and_never_replaced() {
    let made = Made::new().await;
    let ca = made.ca(&[]);
    ca.renew(NOW).unwrap();
    let (authority, key) = (made.read(CA), made.read(CA_KEY));
    let other = KeyPair::generate().unwrap().serialize_pem();
    for bad in ["", "no key", &other] {
        made.folder.write(CA_KEY, bad.as_bytes()).unwrap();
        let error = ca.renew(after_days(61)).expect_err("damaged");
        assert!(error.message.contains("ca.key"), "{error}");
    }
    std::fs::remove_file(made.folder.path.join(CA_KEY)).unwrap();
    assert!(ca.renew(after_days(61)).expect_err("gone").message.contains("ca.key"));
    made.folder.write(CA_KEY, key.as_bytes()).unwrap();
    made.folder.write(CA, b"no certificate").unwrap();
    assert!(ca.renew(NOW).expect_err("damaged").message.contains("ca.pem"));
    made.folder.write(CA, authority.as_bytes()).unwrap();
    assert_eq!(ca.renew(after_days(61)).unwrap(), Renewed::Server);
}
