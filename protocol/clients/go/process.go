package sidecar

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	stderrBytes = 8192
	readBytes   = 64 * 1024
	// How long what has inherited the pipes of a process may hold them open after its end.
	drainTime = time.Second
	// How long a process may live on when its stdout has ended, if its stdin is open.
	muteTime = 200 * time.Millisecond
)

// process is one process of the sidecar: its three pipes, its lines, and its end.
type process struct {
	command *exec.Cmd
	stdin   queue
}

// startProcess starts a program. onLines gets whole lines of stdout, some at a time, with LF between them, and the
// next ones once it has returned. onEnd is called once: the process has ended and its output is read.
func startProcess(args, env []string, onLines func([]byte), onEnd func(code *int, stderr string)) (*process, error) {
	command := exec.Command(args[0], args[1:]...)
	command.Env = env
	// Pipes of our own: those of the package would end before all is read, or never.
	var ours, theirs [3]*os.File
	for index := range ours {
		read, write, err := os.Pipe()
		if err != nil {
			closeAll(ours[:index])
			closeAll(theirs[:index])
			return nil, err
		}
		ours[index], theirs[index] = read, write
	}
	ours[0], theirs[0] = theirs[0], ours[0]
	command.Stdin, command.Stdout, command.Stderr = theirs[0], theirs[1], theirs[2]
	err := command.Start()
	closeAll(theirs[:])
	if err != nil {
		closeAll(ours[:])
		return nil, err
	}
	own := &process{command: command}
	own.stdin.wake = make(chan struct{}, 1)
	go own.stdin.writeTo(ours[0])
	go own.watch(ours, onLines, onEnd)
	return own, nil
}

func closeAll(files []*os.File) {
	for _, file := range files {
		file.Close()
	}
}

// watch reads both outputs to their ends and waits for that of the process.
func (own *process) watch(pipes [3]*os.File, onLines func([]byte), onEnd func(*int, string)) {
	var drains sync.WaitGroup
	var stderr []byte
	drains.Add(2)
	go func() {
		defer drains.Done()
		splitLines(pipes[1], onLines)
		// It can answer nothing any more, and may never end by itself.
		time.AfterFunc(muteTime, func() {
			if !own.stdin.isClosed() {
				own.kill()
			}
		})
	}()
	go func() {
		defer drains.Done()
		readAll(pipes[2], func(piece []byte) {
			stderr = append(stderr, piece...)
			if len(stderr) > stderrBytes {
				stderr = append([]byte(nil), stderr[len(stderr)-stderrBytes:]...)
			}
		})
	}()
	err := own.command.Wait()
	// A child of the sidecar's own may hold the pipes open.
	timer := time.AfterFunc(drainTime, func() { closeAll(pipes[1:]) })
	drains.Wait()
	timer.Stop()
	closeAll(pipes[:])
	own.closeStdin()
	var code *int
	if status := own.command.ProcessState.ExitCode(); status >= 0 && (err == nil || errors.As(err, new(*exec.ExitError))) {
		code = &status
	}
	onEnd(code, string(stderr))
}

// write sends a line some time later. It never waits: whoever waits for a writer does not read.
func (own *process) write(line []byte) { own.stdin.put(line, false) }

// closeStdin says that there are no more requests.
func (own *process) closeStdin() { own.stdin.put(nil, true) }

func (own *process) kill() { _ = own.command.Process.Kill() }

func (own *process) terminate() { _ = own.command.Process.Signal(syscall.SIGTERM) }

func readAll(file io.Reader, take func([]byte)) {
	buffer := make([]byte, readBytes)
	for {
		count, err := file.Read(buffer)
		take(buffer[:count])
		if err != nil {
			return
		}
	}
}

// splitLines cuts what it reads, in whatever pieces that comes, at the byte LF alone.
func splitLines(file io.Reader, take func([]byte)) {
	var rest bytes.Buffer
	readAll(file, func(piece []byte) {
		last := bytes.LastIndexByte(piece, '\n')
		if last < 0 {
			rest.Write(piece)
			return
		}
		rest.Write(piece[:last])
		take(rest.Bytes())
		rest.Reset()
		rest.Write(piece[last+1:])
	})
}

// queue holds the lines that are to be written.
type queue struct {
	mutex  sync.Mutex
	lines  [][]byte
	closed bool
	wake   chan struct{}
}

func (queue *queue) put(line []byte, last bool) {
	queue.mutex.Lock()
	if !queue.closed {
		if line != nil {
			queue.lines = append(queue.lines, line)
		}
		queue.closed = last
	}
	queue.mutex.Unlock()
	select {
	case queue.wake <- struct{}{}:
	default:
	}
}

func (queue *queue) isClosed() bool {
	queue.mutex.Lock()
	defer queue.mutex.Unlock()
	return queue.closed
}

// writeTo writes the lines as they come, until the queue or the pipe is closed.
func (queue *queue) writeTo(pipe *os.File) {
	defer pipe.Close()
	for range queue.wake {
		queue.mutex.Lock()
		lines, closed := queue.lines, queue.closed
		queue.lines = nil
		queue.mutex.Unlock()
		for _, line := range lines {
			// The end of the process says more than this error.
			if _, err := pipe.Write(line); err != nil {
				return
			}
		}
		if closed {
			return
		}
	}
}
