//! Every error class of the official drivers that a server can cause, each by a real answer.
//!
//! Some have no row. The driver for Python has its `ContendedTransactionError` for a code that Fauna's
//! server did not use either. `ConstraintFailureError` is of writes; `ClientError` and `ClientClosedError` are
//! the driver's own doing.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use crate::drivers::driver::{DRIVERS, Driver};
use crate::drivers::shop::Shop;
use event_source_tests::cluster::Stop;
use event_source_tests::connections;
use event_source_tests::consume::v10::V10Stream;
use event_source_tests::consume::{Version, v10};
use event_source_tests::processes::Signal;
use event_source_tests::wait::LONG;
use event_source_tests::wait_until;
use serde_json::{Value, json};

/// Class, code and HTTP status: of Node's drivers, and of the one for Python where that differs.
type Class = (&'static str, &'static str, u16);

/// A user's program gets this error; of a stream the drivers forget the status.
#[track_caller]
fn fails(shop: &Shop, driver: Driver, mode: &str, more: &Value, expected: Class) {
    let mut config = json!({
        "mode": mode, "secret": shop.secret, "count": 1, "max_attempts": 1,
        "query": ["Product.all().eventSource()"],
    });
    for (name, value) in more.as_object().unwrap() {
        config[name] = value.clone();
    }
    if config["token"].is_string() {
        config.as_object_mut().unwrap().remove("query");
    }
    let error = driver.start(&shop.cluster, &config).error();
    let got = (&error["class"], &error["code"], &error["drivers_own"]);
    let (class, code, status) = expected;
    assert_eq!(got, (&json!(class), &json!(code), &json!(true)), "{driver:?} {config}: {error}");
    if mode != "stream" {
        assert_eq!(error["status"], status, "{driver:?} {config}: {error}");
    }
}

const BY_A_TOKEN: [&str; 2] = ["stream", "feed"];
const EVERY_MODE: [&str; 3] = ["stream", "feed", "query"];

#[test]
fn a_wrong_secret_is_an_authentication_error() {
    let shop = Shop::open();
    for driver in DRIVERS {
        for mode in EVERY_MODE {
            let wrong = json!({ "secret": "ess_nonsense" });
            fails(&shop, driver, mode, &wrong, ("AuthenticationError", "unauthorized", 401));
        }
    }
}

/// As its sessions would be: CONNECT is what a role needs to come in at all.
#[test]
fn a_role_that_may_not_connect_is_an_authorization_error() {
    let shop = Shop::open();
    let token = shop.select("SELECT event_source('product')");
    shop.run(&["REVOKE CONNECT ON DATABASE app FROM PUBLIC"]);
    for driver in DRIVERS {
        for mode in ["feed", "query"] {
            let expected = ("AuthorizationError", "forbidden", 403);
            fails(&shop, driver, mode, &json!({}), expected);
        }
        let class = match driver {
            // It takes every error of a stream for one of status 400.
            Driver::Python => "QueryRuntimeError",
            Driver::NodeHttp2 | Driver::NodeFetch => "AuthorizationError",
        };
        fails(&shop, driver, "stream", &json!({ "token": token }), (class, "forbidden", 403));
    }
    shop.run(&["GRANT CONNECT ON DATABASE app TO reader"]);
    let answer = v10::query(
        shop.cluster.http(),
        Version::Http1,
        &shop.secret,
        "Product.all().eventSource()",
    );
    assert!(answer.is_ok(), "{answer:?}");
}

#[test]
fn a_request_that_makes_no_sense_is_an_invalid_request_error() {
    let shop = Shop::open();
    for driver in DRIVERS {
        for mode in BY_A_TOKEN {
            let nonsense = json!({ "token": "est_nonsense" });
            let expected = ("InvalidRequestError", "invalid_request", 400);
            fails(&shop, driver, mode, &nonsense, expected);
        }
    }
}

#[test]
fn what_http_itself_refuses_is_a_protocol_error() {
    let shop = Shop::open();
    // Longer than HTTP/2 takes of a request's head: the answer is not ours, and no JSON.
    let secret = "x".repeat(40_000);
    let config = json!({ "mode": "feed", "token": "est_t", "secret": secret });
    let error = Driver::NodeHttp2.start(&shop.cluster, &config).error();
    assert_eq!((&error["class"], &error["status"]), (&json!("ProtocolError"), &json!(431)));
}

#[test]
fn a_query_that_cannot_be_read_is_a_query_check_error() {
    let shop = Shop::open();
    for driver in DRIVERS {
        for mode in EVERY_MODE {
            let query = json!({ "query": ["Product.all("] });
            fails(&shop, driver, mode, &query, ("QueryCheckError", "invalid_query", 400));
        }
    }
}

#[test]
fn a_query_that_fails_is_a_query_runtime_error() {
    let shop = Shop::open();
    for driver in DRIVERS {
        for mode in EVERY_MODE {
            let query = json!({ "query": ["Product.byId(\"1\").eventSource()"] });
            fails(&shop, driver, mode, &query, ("QueryRuntimeError", "invalid_receiver", 400));
        }
    }
}

#[test]
fn a_query_that_gives_up_is_an_abort_error_with_its_value() {
    let shop = Shop::open();
    for driver in DRIVERS {
        for mode in EVERY_MODE {
            let query = json!({ "query": ["abort({ why: ", { "value": "enough" }, ", n: 7 })"] });
            fails(&shop, driver, mode, &query, ("AbortError", "abort", 400));
        }
        let config = json!({ "mode": "query", "secret": shop.secret, "query": ["abort(\"x\")"] });
        let error = driver.start(&shop.cluster, &config).error();
        assert_eq!(error["abort"], "x", "{driver:?}: {error}");
    }
}

#[test]
fn one_client_too_many_is_a_throttling_error() {
    let shop = Shop::open();
    let token = shop.select("SELECT event_source('product')");
    let address = shop.cluster.http();
    let _held = V10Stream::open(address, Version::Http1, &token, &token, None).unwrap();
    shop.cluster.set("event_source.max_clients", "1");
    shop.cluster.reload();
    wait_until("the limit to count", LONG, || {
        let opened = V10Stream::open(address, Version::Http1, &token, &token, None);
        opened.is_err_and(|failed| failed.code() == Some("limit_exceeded"))
    });
    assert!(shop.cluster.healthy(), "a health check is answered all the same");
    for driver in DRIVERS {
        for mode in EVERY_MODE {
            if (driver, mode) == (Driver::Python, "stream") {
                // It takes this one for a pause in the same body, which has ended.
                continue;
            }
            let expected = ("ThrottlingError", "limit_exceeded", 429);
            let given = if mode == "query" { json!({}) } else { json!({ "token": token }) };
            fails(&shop, driver, mode, &given, expected);
        }
    }
}

#[test]
fn a_time_that_is_over_is_a_query_timeout_error_and_a_worker_that_is_silent_a_service_timeout_error()
 {
    let shop = Shop::open();
    let token = shop.select("SELECT event_source('product')");
    let (worker, _) = shop.cluster.serving();
    worker.signal(Signal::STOP);
    for driver in DRIVERS {
        for mode in ["feed", "query"] {
            let mut given = json!({ "timeout_ms": 300 });
            if mode == "feed" {
                given["token"] = json!(token);
            }
            fails(&shop, driver, mode, &given, ("QueryTimeoutError", "time_out", 440));
        }
    }
    // Longer than the server waits for the worker; all at once, since it waits for half a minute.
    std::thread::scope(|scope| {
        for driver in DRIVERS {
            let class = match driver {
                Driver::Python => "ServiceTimeoutError",
                Driver::NodeHttp2 | Driver::NodeFetch => "QueryTimeoutError",
            };
            let (shop, given) = (&shop, json!({ "token": token, "timeout_ms": 90_000 }));
            scope.spawn(move || fails(shop, driver, "feed", &given, (class, "time_out", 503)));
        }
    });
    worker.signal(Signal::CONT);
}

#[test]
fn a_table_that_somebody_has_locked_is_a_contended_transaction_error() {
    let shop = Shop::open();
    let mut session = shop.cluster.connect();
    let mut locked = session.transaction().unwrap();
    locked.batch_execute("LOCK TABLE product").unwrap();
    for driver in DRIVERS {
        let class = match driver {
            Driver::Python => "QueryRuntimeError",
            Driver::NodeHttp2 | Driver::NodeFetch => "ContendedTransactionError",
        };
        for mode in EVERY_MODE {
            fails(&shop, driver, mode, &json!({}), (class, "contended_transaction", 409));
        }
    }
}

#[test]
fn a_log_that_is_damaged_is_a_service_internal_error() {
    let shop = Shop::open();
    let token = shop.select("SELECT event_source('product')");
    shop.run(&[
        "INSERT INTO product (id) VALUES (1)",
        "DO $$ BEGIN FOR n IN 0..7 LOOP
            EXECUTE format('UPDATE event_source.stamp_%s SET payload = ''\\xffffff''
                            WHERE payload IS NOT NULL', n);
         END LOOP; END $$",
    ]);
    for driver in DRIVERS {
        let expected = ("ServiceInternalError", "internal_error", 500);
        fails(&shop, driver, "feed", &json!({ "token": token }), expected);
    }
}

#[test]
fn a_server_that_dies_under_a_request_is_a_network_error() {
    let shop = Shop::open();
    // Node's HTTP/2 client lets a request be that loses its session, and the program ends.
    for driver in [Driver::NodeFetch, Driver::Python] {
        let (worker, server) = shop.cluster.serving();
        server.signal(Signal::STOP);
        let config = json!({
            "mode": "query", "secret": shop.secret, "query": ["Product.all()"],
            "timeout_ms": 60_000,
        });
        let program = driver.start(&shop.cluster, &config);
        // A connection alone is not enough: `fetch` too lets a request be whose connection ends before
        // it was written. And one that was not accepted yet would be served by the next server.
        wait_until("the request to be written", LONG, || has_unread(&shop));
        worker.signal(Signal::STOP);
        server.signal(Signal::CONT);
        wait_until("the server to read it", LONG, || !has_unread(&shop));
        server.signal(Signal::KILL);
        let error = program.error();
        worker.signal(Signal::CONT);
        assert_eq!(error["class"], "NetworkError", "{driver:?}: {error}");
        assert_eq!(error["drivers_own"], true);
    }
}

#[test]
fn a_server_that_is_not_there_is_a_network_error() {
    let mut shop = Shop::open();
    shop.cluster.stop(Stop::Fast);
    for driver in DRIVERS {
        let config = json!({ "mode": "query", "secret": shop.secret, "query": ["Product.all()"] });
        let error = driver.start(&shop.cluster, &config).error();
        assert_eq!(error["class"], "NetworkError", "{driver:?}: {error}");
        assert_eq!(error["drivers_own"], true);
    }
}

/// Whether somebody has written to the server what it has not read.
fn has_unread(shop: &Shop) -> bool {
    connections::to(shop.cluster.http().port()).iter().any(|connection| connection.is_unread)
}
