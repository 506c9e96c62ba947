//! The guestbook: no entry lost, none doubled, whatever is lost on the way.
use crate::world::{GUESTBOOK, INSTANCE, Lost, World, request};

async fn book() -> World {
    let world = World::with(|config| config.cpu_max = std::time::Duration::from_secs(5));
    world.start(GUESTBOOK).await.unwrap();
    world
}

#[tokio::test]
async fn entries_are_signed_and_listed_by_id() {
    let world = book().await;
    assert_eq!(world.get("/entries").await, Ok((200, "[]".into())));
    for (n, text) in ["first", "with \"quotes\" and \\", "two\nlines, ü and \u{1}"].iter().enumerate() {
        let signed = world.ask(request("POST", "/entries", text)).await;
        assert_eq!(signed, Ok((201, format!("{{\"id\":{}}}", n + 1))));
    }
    let (status, listed) = world.get("/entries").await.unwrap();
    assert_eq!(status, 200);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        listed,
        serde_json::json!([
            {"id": 1, "text": "first"},
            {"id": 2, "text": "with \"quotes\" and \\"},
            {"id": 3, "text": "two\nlines, ü and \u{1}"},
        ])
    );
    let (_, behind) = world.get("/entries?after=2").await.unwrap();
    assert_eq!(behind.matches("\"id\"").count(), 1);
}

#[tokio::test]
async fn the_page_is_there_and_says_who_served_it() {
    let world = book().await;
    let mut request = request("GET", "/", "");
    request.headers_mut().insert("x-bocage-node", "some-node".parse().unwrap());
    let response = world.runtime.handle(INSTANCE, request, crate::world::context(None)).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(response.headers()["x-bocage-node"], "some-node");
}

#[tokio::test]
async fn what_is_no_entry_is_refused() {
    let world = book().await;
    let status = async |method, path, body: &str| world.ask(request(method, path, body)).await.unwrap().0;
    assert_eq!(status("POST", "/entries", "").await, 400);
    assert_eq!(status("POST", "/entries", " \n").await, 400);
    assert_eq!(status("POST", "/entries", &"x".repeat((16 << 10) + 1)).await, 413);
    assert_eq!(status("POST", "/entries", &"x".repeat(16 << 10)).await, 201);
    assert_eq!(status("DELETE", "/entries", "").await, 405);
    assert_eq!(status("GET", "/elsewhere", "").await, 404);
    assert_eq!(status("GET", "/entries?after=x", "").await, 400);
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_id_and_makes_no_second_entry() {
    let world = book().await;
    let signed = world.sign("hello", "key").await;
    assert_eq!(signed, (201, "{\"id\":1}".into()));
    assert_eq!(world.sign("hello", "key").await, signed);
    assert_eq!(world.sign("something else", "key").await.0, 422);
    assert_eq!(world.sign("hello", "another key").await, (201, "{\"id\":2}".into()));
    assert_eq!(world.cell.keys("entries").len(), 2);
}

#[tokio::test]
async fn whichever_answer_is_lost_the_retry_finishes_the_entry_once() {
    for nth in 1..=3 {
        for lost in [Lost::BeforeIt, Lost::AfterIt] {
            for others_meanwhile in [false, true] {
                let world = book().await;
                world.cell.lose_answer(nth, lost);
                let (status, why) = world.sign("mine", "key").await;
                assert_eq!(status, 503, "an entry is acknowledged only when it is certain");
                assert!(why.contains("indefinite: the answer was lost"), "{why}");
                if others_meanwhile {
                    assert_eq!(world.sign("theirs", "their key").await.0, 201);
                }
                let (status, id) = world.sign("mine", "key").await;
                assert_eq!(status, 201);
                assert_eq!(world.sign("mine", "key").await, (201, id));
                let (_, listed) = world.get("/entries").await.unwrap();
                assert_eq!(listed.matches("mine").count(), 1, "{listed}");
            }
        }
    }
}

#[tokio::test]
async fn attempts_at_the_same_time_agree_on_one_entry() {
    let world = book().await;
    let attempts = (0..6).map(|_| world.sign("hello", "key"));
    let answers = futures::future::join_all(attempts).await;
    assert_eq!(answers[0].0, 201);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(world.cell.keys("entries").len(), 1);
}

#[tokio::test]
async fn many_who_sign_at_once_get_ids_of_their_own() {
    let world = book().await;
    let texts: Vec<_> = (0..30).map(|n| format!("entry {n}")).collect();
    let answers = futures::future::join_all(texts.iter().map(|text| world.sign(text, text))).await;
    let mut ids: Vec<_> =
        answers.into_iter().inspect(|answer| assert_eq!(answer.0, 201)).map(|answer| answer.1).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 30);
    let (_, listed) = world.get("/entries").await.unwrap();
    assert!(texts.iter().all(|text| listed.matches(&format!("\"{text}\"")).count() == 1), "{listed}");
}

#[tokio::test]
async fn a_long_book_lists_its_newest_thousand_and_pages_through_the_rest() {
    let world = book().await;
    for n in 1..=1_010 {
        assert_eq!(world.ask(request("POST", "/entries", &format!("entry {n}"))).await.unwrap().0, 201);
    }
    let (_, listed) = world.get("/entries").await.unwrap();
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.len(), 1_000);
    assert_eq!((listed[0]["id"].as_u64(), listed[999]["id"].as_u64()), (Some(11), Some(1_010)));
    let first = world.runtime.handle(INSTANCE, request("GET", "/entries?after=0", ""), crate::world::context(None));
    assert_eq!(first.await.unwrap().headers()["link"], "</entries?after=64>; rel=\"next\"");
}
