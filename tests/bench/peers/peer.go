// Go: goroutines with a WaitGroup as the group and a context as what is cancelled. On one core it runs with
// GOMAXPROCS=1, by itself. sync.Mutex and channels as they are; a channel of three as the semaphore; for the offload a
// goroutine that is locked to a thread of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const yields, timeouts, items, turns, jobs = 40000, 2000, 10000, 1000, 200

func say(name string, value float64) { fmt.Printf("%s %.3f\n", name, value) }

func repeat(batch func(), operations int) {
	budget, err := strconv.ParseFloat(os.Getenv("BENCH_SECONDS"), 64)
	if err != nil {
		budget = 0.1
	}
	batch()
	batches, start := 0, time.Now()
	for batches == 0 || time.Since(start).Seconds() < budget {
		batch()
		batches++
	}
	say("ns", float64(time.Since(start).Nanoseconds())/float64(batches*operations))
}

func memory() float64 {
	text, _ := os.ReadFile("/proc/self/status")
	sum := 0
	for _, line := range strings.Split(string(text), "\n") {
		fields := strings.Fields(line)
		if len(fields) > 1 && (fields[0] == "VmRSS:" || fields[0] == "VmPTE:") {
			kilobytes, _ := strconv.Atoi(fields[1])
			sum += kilobytes
		}
	}
	return 1024 * float64(sum)
}

func cpu() float64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e6
}

func spawn(n int, body func()) {
	var group sync.WaitGroup
	group.Add(n)
	for i := 0; i < n; i++ {
		go func() { body(); group.Done() }()
	}
	group.Wait()
}

func sleep(ctx context.Context) error {
	timer := time.NewTimer(1000 * time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func startSleepers(ctx context.Context, group *sync.WaitGroup, n int) {
	group.Add(n)
	for i := 0; i < n; i++ {
		go func() { sleep(ctx); group.Done() }()
	}
	runtime.Gosched()
}

func sleepers(n int) {
	var group sync.WaitGroup
	before, start := memory(), time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	startSleepers(ctx, &group, n)
	pause := time.Now()
	say("bytes", (memory()-before)/float64(n))
	middle := time.Now()
	cancel()
	group.Wait()
	say("ns", float64((time.Since(start)-middle.Sub(pause)).Nanoseconds())/float64(n))
	say("cancel-ns", float64(time.Since(middle).Nanoseconds())/float64(n))
}

func wake(n int) {
	start, used := time.Now(), cpu()
	var group sync.WaitGroup
	group.Add(n)
	for i := 0; i < n; i++ {
		go func(i int) {
			time.Sleep(time.Duration(uint32(uint64(i)*2654435761)%100000) * time.Microsecond)
			group.Done()
		}(i)
	}
	group.Wait()
	say("beyond-ms", float64(time.Since(start).Nanoseconds())/1e6-100)
	say("cpu-ms", cpu()-used)
}

func timeout(others int, yield bool) {
	var group sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	startSleepers(ctx, &group, others)
	repeat(func() {
		for i := 0; i < timeouts; i++ {
			_, done := context.WithTimeout(context.Background(), 1000*time.Second)
			if yield {
				runtime.Gosched()
			}
			done()
		}
	}, timeouts)
	cancel()
	group.Wait()
}

func level(ctx context.Context, left int, complete chan bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if left == 1 {
		complete <- true
		sleep(ctx)
		return
	}
	var group sync.WaitGroup
	group.Add(1)
	go func() { level(ctx, left-1, complete); group.Done() }()
	group.Wait()
}

func nestedGroups(depth int) {
	ctx, cancel := context.WithCancel(context.Background())
	complete := make(chan bool, 1)
	var group sync.WaitGroup
	group.Add(1)
	go func() { level(ctx, depth, complete); group.Done() }()
	<-complete
	cancel()
	group.Wait()
}

func nestedTimeouts(depth int) {
	outer, cancel := context.WithCancel(context.Background())
	spawned := make(chan bool)
	go func() {
		ctx, cancels := outer, make([]context.CancelFunc, depth)
		for i := range cancels {
			ctx, cancels[i] = context.WithTimeout(ctx, 1000*time.Second)
		}
		spawned <- true
		<-ctx.Done()
		for i := range cancels {
			cancels[depth-1-i]()
		}
		spawned <- true
	}()
	<-spawned
	cancel()
	<-spawned
}

var failure = errors.New("failed")

func fail(n int, all bool) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	var lock sync.Mutex
	var failures []error
	group.Add(n)
	for i := 0; i < n; i++ {
		fails := all || i == n-1
		go func() {
			err := failure
			if !fails {
				err = sleep(ctx)
			}
			if err == failure {
				lock.Lock()
				failures = append(failures, err)
				lock.Unlock()
				cancel()
			}
			group.Done()
		}()
	}
	group.Wait()
	cancel()
}

func queue(capacity int) {
	channel := make(chan uint64, capacity)
	var group sync.WaitGroup
	group.Add(2)
	go func() {
		for item := uint64(0); item < items; item++ {
			channel <- item
		}
		group.Done()
	}()
	go func() {
		sum := uint64(0)
		for i := 0; i < items; i++ {
			sum += <-channel
		}
		group.Done()
	}()
	group.Wait()
}

func offload() {
	there, back := make(chan func()), make(chan bool)
	go func() {
		runtime.LockOSThread()
		for job := range there {
			job()
			back <- true
		}
	}()
	repeat(func() {
		for i := 0; i < jobs; i++ {
			there <- func() {}
			<-back
		}
	}, jobs)
}

func echo() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	say("port", float64(listener.Addr().(*net.TCPAddr).Port))
	for {
		client, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go func() {
			buffer := make([]byte, 1024)
			for {
				n, err := client.Read(buffer)
				if err == nil {
					_, err = client.Write(buffer[:n])
				}
				if err != nil {
					client.Close()
					return
				}
			}
		}()
	}
}

func main() {
	n, _ := strconv.Atoi(os.Args[2])
	var lock sync.Mutex
	permits := make(chan bool, 3)
	switch os.Args[1] {
	case "spawn":
		repeat(func() { spawn(n, func() {}) }, n)
	case "spawn-yield":
		repeat(func() { spawn(n, runtime.Gosched) }, n)
	case "yield":
		repeat(func() {
			spawn(n, func() {
				for i := 0; i < yields/n; i++ {
					runtime.Gosched()
				}
			})
		}, yields)
	case "sleepers":
		sleepers(n)
	case "wake":
		wake(n)
	case "timeout":
		timeout(n, false)
	case "timeout-yield":
		timeout(n, true)
	case "nested-groups":
		repeat(func() { nestedGroups(n) }, n)
	case "nested-timeouts":
		repeat(func() { nestedTimeouts(n) }, n)
	case "fail-one":
		repeat(func() { fail(n, false) }, n)
	case "fail-all":
		repeat(func() { fail(n, true) }, n)
	case "queue":
		repeat(func() { queue(n) }, items)
	case "lock":
		repeat(func() {
			spawn(n, func() {
				for i := 0; i < turns; i++ {
					lock.Lock()
					runtime.Gosched()
					lock.Unlock()
				}
			})
		}, n*turns)
	case "semaphore":
		repeat(func() {
			spawn(n, func() {
				for i := 0; i < turns; i++ {
					permits <- true
					runtime.Gosched()
					<-permits
				}
			})
		}, n*turns)
	case "offload":
		offload()
	case "echo":
		echo()
	default:
		os.Exit(77)
	}
}
