package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A task is what this program does in a process of its own, so that it takes the CPU time of nobody it is measured with.
type task struct {
	Serve   string  // the subject whose site answers over HTTP
	Setting setting // it is started with

	Delay  time.Duration // a proxy that makes a round trip so much longer
	Target string        // in front of this address
}

const taskVariable = "SESSIONS_BENCH_TASK"

// child does the task that this process was started for, and tells whether there is one.
func child() bool {
	text := os.Getenv(taskVariable)
	if text == "" {
		return false
	}
	if err := perform(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

func perform(text string) error {
	var t task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	if t.Target != "" {
		go func() { ended <- delayed(l, t.Target, t.Delay/2) }()
	} else {
		s, err := named(t.Serve)[0].open(t.Setting)
		if err != nil {
			return err
		}
		go func() { ended <- s.serve(l) }()
	}
	fmt.Println(l.Addr())
	go func() {
		io.Copy(io.Discard, os.Stdin) // until the parent ends
		ended <- nil
	}()
	return <-ended
}

// startTask runs t in a child until tb ends, and returns the address that it listens at.
func startTask(tb testing.TB, t task) string {
	tb.Helper()
	text, err := json.Marshal(t)
	must(tb, err)
	program, err := os.Executable()
	must(tb, err)
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), taskVariable+"="+string(text))
	return startProcess(tb, cmd)
}

// startProcess runs cmd until its standard input ends, with tb, and returns the line that it prints when it listens.
func startProcess(tb testing.TB, cmd *exec.Cmd) string {
	tb.Helper()
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(tb, err)
	out, err := cmd.StdoutPipe()
	must(tb, err)
	must(tb, cmd.Start())
	tb.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			tb.Errorf("%v: %v", cmd, err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		tb.Fatalf("%v does not listen: %v", cmd, err)
	}
	return strings.TrimSpace(line)
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
