package sidecar

import "sync"

// serial runs tasks one after another, in a goroutine that lives as long as there are any. All of a client's state
// belongs to its tasks, and they call all handlers: so a host needs no locks, and nothing comes after an end.
type serial struct {
	mutex   sync.Mutex
	tasks   []func()
	running bool
}

// post runs task some time later. It never waits.
func (serial *serial) post(task func()) {
	serial.mutex.Lock()
	defer serial.mutex.Unlock()
	serial.tasks = append(serial.tasks, task)
	if !serial.running {
		serial.running = true
		go serial.run()
	}
}

// do runs task and returns after that. A task must not call it.
func (serial *serial) do(task func()) {
	done := make(chan struct{})
	serial.post(func() {
		defer close(done)
		task()
	})
	<-done
}

func (serial *serial) run() {
	for {
		serial.mutex.Lock()
		tasks := serial.tasks
		serial.tasks = nil
		serial.running = len(tasks) > 0
		serial.mutex.Unlock()
		if len(tasks) == 0 {
			return
		}
		for _, task := range tasks {
			task()
		}
	}
}
