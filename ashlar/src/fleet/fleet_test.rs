use super::*;
use proto::ids::NodeId;
use serde_json::json;

fn daemon() -> DaemonId {
    DaemonId { kind: DaemonKind::Agent, node: NodeId(7), node_name: "n7".into(), name: String::new() }
}

fn poll(instance: &str, known: &[u64], outcomes: Vec<Outcome>) -> Poll {
    Poll {
        daemon: daemon(),
        instance: instance.into(),
        report: Report::default(),
        known: known.to_vec(),
        outcomes,
    }
}

fn detach() -> Task {
    Task::Detach { volume: "v".into() }
}

#[tokio::test]
async fn an_order_is_given_until_it_is_known_and_answered_once() {
    let fleet = Arc::<Fleet>::default();
    assert!(fleet.poll(poll("a", &[], Vec::new())).await.unwrap().is_empty());
    let asking = Arc::clone(&fleet);
    let asked = tokio::spawn(async move { asking.ask(&daemon(), detach()).await });
    let orders = loop {
        let orders = fleet.poll(poll("a", &[], Vec::new())).await.unwrap();
        if !orders.is_empty() {
            break orders;
        }
    };
    assert_eq!(orders[0].task, detach());
    let id = orders[0].id;
    let again = fleet.poll(poll("a", &[], Vec::new())).await.unwrap();
    assert_eq!(again, orders, "the answer that brought it may have been lost");
    assert!(fleet.poll(poll("a", &[id], Vec::new())).await.unwrap().is_empty());
    let outcome = Outcome { id, result: Ok(json!(5)) };
    fleet.poll(poll("a", &[id], vec![outcome.clone(), outcome])).await.unwrap();
    assert_eq!(asked.await.unwrap().unwrap(), json!(5));
}

#[tokio::test]
async fn another_life_of_a_daemon_ends_what_waited_for_the_former() {
    let fleet = Arc::<Fleet>::default();
    fleet.poll(poll("a", &[], Vec::new())).await.unwrap();
    let asking = Arc::clone(&fleet);
    let asked = tokio::spawn(async move { asking.ask(&daemon(), detach()).await });
    while fleet.poll(poll("a", &[], Vec::new())).await.unwrap().is_empty() {}
    fleet.poll(poll("b", &[], Vec::new())).await.unwrap();
    assert_eq!(asked.await.unwrap().expect_err("gone").exit, Exit::Unavailable);
}

#[tokio::test]
async fn the_only_one_needs_no_name() {
    let fleet = Fleet::default();
    assert_eq!(fleet.find(DaemonKind::Agent, None).expect_err("none").exit, Exit::Unavailable);
    fleet.poll(poll("a", &[], Vec::new())).await.unwrap();
    assert_eq!(fleet.find(DaemonKind::Agent, None).unwrap(), daemon());
    assert!(fleet.find(DaemonKind::Blockd, None).is_err());
    let mut other = poll("c", &[], Vec::new());
    other.daemon.node = NodeId(8);
    other.daemon.node_name = "n8".into();
    fleet.poll(other).await.unwrap();
    let error = fleet.find(DaemonKind::Agent, None).expect_err("two");
    assert!(error.exit == Exit::Usage && error.message.contains("n7, n8"), "{error}");
    assert_eq!(fleet.find(DaemonKind::Agent, Some("n7")).unwrap(), daemon());
}
