// tokio on its current-thread runtime: a JoinSet as the group, aborted to cancel it, Notify, mpsc, Mutex and Semaphore
// of tokio's. There is no channel that hands over: a channel of one is used for it, which is less work. Nested groups
// are JoinSets in tasks; aborting the outermost drops the one inside, and so on; that all have gone is known by the ends
// of a channel that they hold. It runs on a thread with a large stack, for timeouts nested 10,000 deep.
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, Mutex, Notify, Semaphore};
use tokio::task::{spawn_blocking, yield_now, JoinSet};
use tokio::time::{sleep, timeout};

const YIELDS: usize = 40000;
const TIMEOUTS: usize = 2000;
const ITEMS: usize = 10000;
const TURNS: usize = 1000;
const JOBS: usize = 200;
const LONG: Duration = Duration::from_secs(1000);

fn say(name: &str, value: f64) {
    println!("{} {:.3}", name, value);
}

fn memory() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let kilobytes = |line: &str| line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap();
    1024.0 * text.lines().filter(|l| l.starts_with("VmRSS:") || l.starts_with("VmPTE:")).map(kilobytes).sum::<f64>()
}

fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/task/".to_string() + &thread_id() + "/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e6
}

fn thread_id() -> String {
    std::fs::read_link("/proc/thread-self").unwrap().file_name().unwrap().to_str().unwrap().to_string()
}

async fn repeat<F: Future<Output = ()>>(batch: impl Fn() -> F, operations: usize) {
    let budget = std::env::var("BENCH_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(0.1);
    batch().await;
    let (start, mut batches) = (Instant::now(), 0);
    while batches == 0 || start.elapsed().as_secs_f64() < budget {
        batch().await;
        batches += 1;
    }
    say("ns", start.elapsed().as_nanos() as f64 / (batches * operations) as f64);
}

async fn join<T: 'static>(mut set: JoinSet<T>) {
    while set.join_next().await.is_some() {}
}

async fn spawn<F: Future<Output = ()> + Send + 'static>(n: usize, body: impl Fn() -> F) {
    let mut set = JoinSet::new();
    for _ in 0..n {
        set.spawn(body());
    }
    join(set).await;
}

async fn sleepers(n: usize) {
    let (before, start) = (memory(), Instant::now());
    let mut set = JoinSet::new();
    for _ in 0..n {
        set.spawn(sleep(LONG));
    }
    yield_now().await;
    let pause = Instant::now();
    say("bytes", (memory() - before) / n as f64);
    let middle = Instant::now();
    set.abort_all();
    join(set).await;
    say("ns", (start.elapsed() - (middle - pause)).as_nanos() as f64 / n as f64);
    say("cancel-ns", middle.elapsed().as_nanos() as f64 / n as f64);
}

async fn wake(n: usize) {
    let (start, used) = (Instant::now(), cpu());
    let mut set = JoinSet::new();
    for i in 0..n as u64 {
        set.spawn(sleep(Duration::from_micros(((i * 2654435761) as u32 % 100000) as u64)));
    }
    join(set).await;
    say("beyond-ms", start.elapsed().as_nanos() as f64 / 1e6 - 100.0);
    say("cpu-ms", cpu() - used);
}

async fn timeouts(others: usize, yields: bool) {
    let mut set = JoinSet::new();
    for _ in 0..others {
        set.spawn(sleep(LONG));
    }
    yield_now().await;
    let batch = || async move {
        for _ in 0..TIMEOUTS {
            if yields {
                timeout(LONG, yield_now()).await.unwrap();
            } else {
                timeout(LONG, async {}).await.unwrap();
            }
        }
    };
    repeat(batch, TIMEOUTS).await;
    set.abort_all();
    join(set).await;
}

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

fn level(left: usize, complete: Arc<Notify>, here: mpsc::Sender<()>) -> Boxed {
    Box::pin(async move {
        if left == 1 {
            complete.notify_one();
            sleep(LONG).await;
        } else {
            let mut set = JoinSet::new();
            set.spawn(level(left - 1, complete, here.clone()));
            join(set).await;
        }
        drop(here);
    })
}

async fn nested_groups(depth: usize) {
    let (here, mut gone) = mpsc::channel(1);
    let complete = Arc::new(Notify::new());
    let mut set = JoinSet::new();
    set.spawn(level(depth, complete.clone(), here));
    complete.notified().await;
    set.abort_all();
    join(set).await;
    gone.recv().await;
}

fn limits(left: usize) -> Boxed {
    Box::pin(async move {
        if left == 0 {
            sleep(LONG).await
        } else {
            let _ = timeout(LONG, limits(left - 1)).await;
        }
    })
}

async fn nested_timeouts(depth: usize) {
    let mut set = JoinSet::new();
    set.spawn(limits(depth));
    yield_now().await;
    set.abort_all();
    join(set).await;
}

async fn fail(n: usize, all: bool) {
    let mut set = JoinSet::new();
    for i in 0..n {
        set.spawn(async move {
            if all || i == n - 1 {
                return Err(std::io::Error::from_raw_os_error(5));
            }
            sleep(LONG).await;
            Ok(())
        });
    }
    let mut failures = Vec::new();
    while let Some(result) = set.join_next().await {
        if let Ok(Err(failure)) = result {
            failures.push(failure);
            if !all {
                set.abort_all();
            }
        }
    }
    assert!(failures.len() == if all { n } else { 1 });
}

async fn queue(capacity: usize) {
    let (put, mut get) = mpsc::channel::<u64>(capacity.max(1));
    let mut set = JoinSet::new();
    set.spawn(async move {
        for item in 0..ITEMS as u64 {
            put.send(item).await.unwrap();
        }
    });
    set.spawn(async move {
        let mut sum = 0;
        for _ in 0..ITEMS {
            sum += get.recv().await.unwrap();
        }
        assert!(sum == (ITEMS * (ITEMS - 1) / 2) as u64);
    });
    join(set).await;
}

async fn lock(n: usize) {
    let lock = Arc::new(Mutex::new(()));
    let body = || {
        let lock = lock.clone();
        async move {
            for _ in 0..TURNS {
                let _held = lock.lock().await;
                yield_now().await;
            }
        }
    };
    spawn(n, body).await;
}

async fn semaphore(n: usize) {
    let semaphore = Arc::new(Semaphore::new(3));
    let body = || {
        let semaphore = semaphore.clone();
        async move {
            for _ in 0..TURNS {
                let _permit = semaphore.acquire().await.unwrap();
                yield_now().await;
            }
        }
    };
    spawn(n, body).await;
}

async fn offload() {
    for _ in 0..JOBS {
        spawn_blocking(|| ()).await.unwrap();
    }
}

async fn echo() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    say("port", listener.local_addr().unwrap().port() as f64);
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 1024];
            loop {
                match client.read(&mut buffer).await {
                    Ok(n) if n > 0 => {
                        if client.write_all(&buffer[..n]).await.is_err() {
                            return;
                        }
                    }
                    _ => return,
                }
            }
        });
    }
}

async fn yields(count: usize) {
    for _ in 0..count {
        yield_now().await;
    }
}

async fn run(workload: &str, n: usize) {
    match workload {
        "spawn" => repeat(|| spawn(n, || async {}), n).await,
        "spawn-yield" => repeat(|| spawn(n, yield_now), n).await,
        "yield" => repeat(|| spawn(n, || yields(YIELDS / n)), YIELDS).await,
        "sleepers" => sleepers(n).await,
        "wake" => wake(n).await,
        "timeout" => timeouts(n, false).await,
        "timeout-yield" => timeouts(n, true).await,
        "nested-groups" => repeat(|| nested_groups(n), n).await,
        "nested-timeouts" => repeat(|| nested_timeouts(n), n).await,
        "fail-one" => repeat(|| fail(n, false), n).await,
        "fail-all" => repeat(|| fail(n, true), n).await,
        "queue" => repeat(|| queue(n), ITEMS).await,
        "lock" => repeat(|| lock(n), n * TURNS).await,
        "semaphore" => repeat(|| semaphore(n), n * TURNS).await,
        "offload" => repeat(offload, JOBS).await,
        "echo" => echo().await,
        _ => std::process::exit(77),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let program = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(&arguments[1], arguments[2].parse().unwrap()));
        std::process::exit(0)
    };
    std::thread::Builder::new().stack_size(1 << 30).spawn(program).unwrap().join().unwrap();
}
