;;; sidecar.el --- Speak to language models by a sidecar  -*- lexical-binding: t; -*-

;; Package-Requires: ((emacs "28.1"))
;; Keywords: processes, tools

;;; Commentary:

;; Starts a sidecar, sends requests, and hands each reply to the request
;; that it belongs to.  README.md shows its use.

;;; Code:

(require 'cl-lib)
(require 'sidecar-process)
(require 'sidecar-types)

(defconst sidecar--steady-s 60
  "A process that works for so many seconds is no failure in a row.")

(cl-defstruct (sidecar (:constructor sidecar-make) (:conc-name sidecar--) (:copier nil))
  "A client.
COMMAND has the program and its arguments; default: the variable
SIDECAR of the environment, or else `sidecar'.  INITIALIZE has the
parameters of `initialize', which each new process is sent.
BACKOFF-MS: how long to wait before the first restart; twice as long
before each one in a row, at most MAX-BACKOFF-MS.  GRACE-MS: how long
to wait for each step of an orderly end, and for the end of a
cancelled request.  START-MS: how long a process may take to answer
`initialize'.

ON-READY gets the data of its answer, ON-EVENT a warning that belongs
to no request.  ON-EXIT gets the exit code, nil after a signal,
whether the client starts another process, and the last of stderr.
ON-REFUSED gets the error if the sidecar cannot be used, and is not
restarted: show its message to the user.  ON-PROBLEM gets a text about
a stray line or a handler that has failed: somebody's mistake."
  command initialize (backoff-ms 1000) (max-backoff-ms 30000) (grace-ms 2000) (start-ms 30000)
  on-ready on-event on-exit on-refused on-problem
  ;; What follows is the client's own.
  process ready-at refused closing (entries (make-hash-table)) (last-id 0) (restarts 0)
  restart-timer start-timer on-closed)

(cl-defstruct (sidecar--entry (:copier nil))
  "A request on its way."
  id line sent cancelled (chunks 0) on on-chunk on-done on-error tools calls timers)

(define-error 'sidecar-error "The request has failed")

(defconst sidecar--cancelled '(:code "cancelled" :message "The request was cancelled."))
(defconst sidecar--closed '(:code "shutting_down" :message "The client was closed."))

;;; For hosts

(defun sidecar-start (client)
  "Start the sidecar of CLIENT, also again after it was refused.
Requests that come before it is ready wait."
  (unless (or (sidecar--process client) (sidecar--closing client))
    (sidecar--stop (sidecar--restart-timer client))
    (setf (sidecar--refused client) nil)
    (sidecar--spawn client)))

(cl-defun sidecar-request (client action params &key provider deadline-ms on on-chunk on-done on-error tools)
  "Let CLIENT send a request for ACTION with PARAMS, and return its id.
PARAMS is a plist as `sidecar-process-encode' takes it, and
`sidecar-describe-type' describes it.  PROVIDER is the provider, if
the model does not name it.  After DEADLINE-MS the request fails with
`timeout' and is cancelled.

ON is an alist from types of chunks to functions of a chunk; ON-CHUNK
gets every chunk but the last one, also those of types that are not
known.  ON-DONE gets the data of the terminal line, or else ON-ERROR
gets why the request has failed: an error of the sidecar's, or one of
the client's own with a `:code' and a `:message'.

TOOLS, with `:tool_loop', is an alist from names to functions of the
arguments and of REPLY.  Such a function returns its result, a string
or a value as in PARAMS, or else nil, and calls REPLY later with the
result, and with t if it is an error."
  (let* ((entry (sidecar--add client action params provider))
         (id (sidecar--entry-id entry)))
    (setf (sidecar--entry-on entry) on
          (sidecar--entry-on-chunk entry) on-chunk
          (sidecar--entry-on-done entry) on-done
          (sidecar--entry-on-error entry) on-error
          (sidecar--entry-tools entry) tools)
    (when deadline-ms
      (sidecar--after client entry deadline-ms #'sidecar--expire deadline-ms))
    (cond ((or (sidecar--refused client) (sidecar--closing client))
           ;; Like every end, it comes after this function has returned.
           (sidecar--after client entry 0 #'sidecar--fail (or (sidecar--refused client) sidecar--closed)))
          ((sidecar--ready-at client) (sidecar--send client entry)))
    id))

(defun sidecar-cancel (client id)
  "End the request ID of CLIENT.
It fails with `cancelled' unless it has just ended.  No chunk comes
after this."
  (let ((entry (gethash id (sidecar--entries client))))
    (cond ((or (not entry) (sidecar--entry-cancelled entry)))
          ((not (sidecar--entry-sent entry)) (sidecar--fail client entry sidecar--cancelled))
          (t
           (setf (sidecar--entry-cancelled entry) 'sent)
           (sidecar--after client entry (sidecar--grace-ms client) #'sidecar--fail sidecar--cancelled)
           (sidecar-request client "cancel" (list :id id)
                            :on-done (lambda (data)
                                       (if (eq (plist-get data :found) t)
                                           (setf (sidecar--entry-cancelled entry) 'found)
                                         (sidecar--fail client entry sidecar--cancelled))))))))

(defun sidecar-call (client action params &rest options)
  "Let CLIENT send a request, wait, and return the data of its end.
ACTION, PARAMS and OPTIONS are those of `sidecar-request', without
handlers of the end.  A failure is signalled as `sidecar-error' with
the code, the message and the error.  \\[keyboard-quit] cancels it."
  (let* (ended failed
         (id (apply #'sidecar-request client action params
                    :on-done (lambda (data) (setq ended (list data)))
                    :on-error (lambda (failure) (setq failed failure))
                    options)))
    (unwind-protect
        (while (not (or ended failed))
          (accept-process-output nil 0.1))
      (sidecar-cancel client id))
    (when failed
      (signal 'sidecar-error (list (plist-get failed :code) (plist-get failed :message) failed)))
    (car ended)))

(defun sidecar-kill (client)
  "End the process of CLIENT, which is started again.
For one that no longer answers, not even a `ping'."
  (when (sidecar--process client)
    (sidecar-process-signal (sidecar--process client) 'SIGKILL)))

(defun sidecar-close (client &optional on-closed)
  "End the sidecar of CLIENT, then call ON-CLOSED.
Its input ends, and signals follow if that does not help.  Open
requests may finish."
  (setf (sidecar--closing client) t)
  (sidecar--stop (sidecar--restart-timer client))
  (sidecar--fail-all client (lambda (entry) (unless (sidecar--entry-sent entry) sidecar--closed)))
  (let ((process (sidecar--process client)))
    (if (not process)
        (sidecar--run client on-closed)
      (push on-closed (sidecar--on-closed client))
      (sidecar-process-close-stdin process)
      (cl-loop for signal in '(SIGTERM SIGKILL)
               for step from 1
               do (sidecar--later (* step (sidecar--grace-ms client)) #'sidecar-process-signal process signal)))))

(defun sidecar-describe-type (name)
  "Show what the type NAME of the protocol is, and its parts."
  (interactive (list (intern (completing-read "Type: " sidecar-types nil t))))
  (with-help-window "*Help*"
    (pcase-let ((`(,_ ,doc . ,parts) (assq name sidecar-types)))
      (princ (format "%s\n\n%s\n\n" name doc))
      (dolist (part parts)
        (princ (if (consp part)
                   (format "%s  %s\n%s\n" (car part) (cadr part) (or (nth 2 part) ""))
                 (format "%s\n" part)))))))

;;; The process

(defun sidecar--spawn (client)
  "Start a process for CLIENT and initialize it."
  (let ((command (or (sidecar--command client) (list (or (getenv "SIDECAR") "sidecar"))))
        process)
    (condition-case problem
        (setq process (sidecar-process-start command
                                             (apply-partially #'sidecar--take-line client)
                                             (apply-partially #'sidecar--end client nil)
                                             (apply-partially #'sidecar--report client)))
      (file-error
       (sidecar--later 0 #'sidecar--end client t nil (error-message-string problem))))
    (when process
      (setf (sidecar--process client) process
            (sidecar--start-timer client)
            (sidecar--later (sidecar--start-ms client) #'sidecar-process-signal process 'SIGKILL))
      (let* ((version (list :protocol_version sidecar-protocol-version))
             (entry (sidecar--add client "initialize" (append (sidecar--initialize client) version) nil)))
        (setf (sidecar--entry-on-done entry) (apply-partially #'sidecar--take-initialized client)
              (sidecar--entry-on-error entry)
              (lambda (failure)
                (unless (equal (plist-get failure :code) "sidecar_exited")
                  (sidecar--refuse client failure))))
        (sidecar--send client entry)))))

(defun sidecar--take-initialized (client initialized)
  "Let CLIENT begin with INITIALIZED, the answer to `initialize'."
  (let ((version (plist-get initialized :protocol_version)))
    (if (not (eql version sidecar-protocol-version))
        (sidecar--refuse client (list :code "protocol_version"
                                      :message (format "The sidecar speaks version %s of the protocol, not %s."
                                                       version sidecar-protocol-version)))
      (sidecar--stop (sidecar--start-timer client))
      (setf (sidecar--ready-at client) (float-time))
      (sidecar--run client (sidecar--on-ready client) initialized)
      (dolist (entry (sidecar--list-entries client))
        (unless (or (sidecar--entry-sent entry) (not (sidecar--process client)))
          (sidecar--send client entry))))))

(defun sidecar--refuse (client failure)
  "Give up the sidecar of CLIENT because of FAILURE."
  (setf (sidecar--refused client) failure)
  (sidecar--run client (sidecar--on-refused client) failure)
  (sidecar--fail-all client (lambda (_) failure))
  (sidecar-process-close-stdin (sidecar--process client))
  (sidecar--later (sidecar--grace-ms client) #'sidecar-process-signal (sidecar--process client) 'SIGKILL))

(defun sidecar--end (client unspawned code stderr)
  "Note that the process of CLIENT has ended with CODE and STDERR.
UNSPAWNED if it could not be started."
  (sidecar--stop (sidecar--start-timer client))
  (when (and (sidecar--ready-at client)
             (> (- (float-time) (sidecar--ready-at client)) sidecar--steady-s))
    (setf (sidecar--restarts client) 0))
  (setf (sidecar--process client) nil
        (sidecar--ready-at client) nil)
  (let* ((final (or unspawned (sidecar--closing client) (sidecar--refused client) (eql code 2)))
         (message (format "The sidecar has ended (%s)." (or code "by a signal"))))
    (when (and final (not (sidecar--closing client)) (not (sidecar--refused client)))
      (setf (sidecar--refused client)
            (list :code (if unspawned "spawn_failed" "sidecar_exited") :message (string-trim stderr))))
    (sidecar--fail-all
     client
     (lambda (entry)
       (cond ((sidecar--entry-sent entry)
              (list :code "sidecar_exited" :message message :retryable t
                    :partial (if (> (sidecar--entry-chunks entry) 0) t :false)))
             ((sidecar--closing client) sidecar--closed)
             (t (sidecar--refused client)))))
    (unless final
      (setf (sidecar--restart-timer client)
            (sidecar--later (min (* (sidecar--backoff-ms client) (expt 2 (sidecar--restarts client)))
                                 (sidecar--max-backoff-ms client))
                            #'sidecar-start client))
      (cl-incf (sidecar--restarts client)))
    (sidecar--run client (sidecar--on-exit client) code (not final) stderr)
    (when (sidecar--closing client)
      (dolist (on-closed (sidecar--on-closed client))
        (sidecar--run client on-closed)))))

;;; Lines

(defun sidecar--take-line (client line)
  "Let CLIENT take LINE, which the sidecar has written."
  (let* ((id (and (proper-list-p line) (plist-get line :id)))
         (entry (and (integerp id) (gethash id (sidecar--entries client))))
         (data (and (proper-list-p line) (plist-get line :data))))
    (cond ((and entry (eq (plist-get line :streaming) t) (not (equal (plist-get data :type) "done")))
           (cl-incf (sidecar--entry-chunks entry))
           (unless (sidecar--entry-cancelled entry)
             (sidecar--take-chunk client entry data)))
          ((and entry (eq (plist-get line :success) t) (not (eq (sidecar--entry-cancelled entry) 'found)))
           (sidecar--settle client entry)
           (sidecar--run client (sidecar--entry-on-done entry) data))
          (entry (sidecar--fail client entry (or (plist-get line :error) sidecar--cancelled)))
          ((and (proper-list-p line) (plist-get line :event))
           (sidecar--run client (sidecar--on-event client) data))
          ;; A request that has expired may still have lines on their way.
          ((not (and (integerp id) (<= 1 id (sidecar--last-id client))))
           (sidecar--report client "A line of the sidecar's belongs to no request.")))))

(defun sidecar--take-chunk (client entry chunk)
  "Hand CHUNK to the handlers of ENTRY of CLIENT, and run its tools."
  (let ((type (plist-get chunk :type)))
    (sidecar--run client (cdr (assoc type (sidecar--entry-on entry))) chunk)
    (sidecar--run client (sidecar--entry-on-chunk entry) chunk)
    (cond ((not (sidecar--entry-tools entry)))
          ((equal type "tool_call")
           (push (plist-get chunk :tool_call) (sidecar--entry-calls entry)))
          ((equal type "tool_round")
           (seq-do (apply-partially #'sidecar--run-tool client entry) (plist-get chunk :calls))))))

(defun sidecar--run-tool (client entry id)
  "Let CLIENT run the tool for the call ID of ENTRY and send the result."
  (let* ((call (seq-find (lambda (each) (equal (plist-get each :id) id)) (sidecar--entry-calls entry)))
         (tool (cdr (assoc (plist-get call :name) (sidecar--entry-tools entry))))
         (reply (lambda (result &optional is-error)
                  (let* ((text (if (stringp result) result
                                 (decode-coding-string (sidecar-process-encode result) 'utf-8)))
                         (row (list :id id :content text :is_error (if is-error t :false))))
                    (sidecar-request client "tool_result"
                                     (list :id (sidecar--entry-id entry) :results (vector row)))))))
    (cond ((not tool) (funcall reply "There is no such tool." t))
          ((not (and (plist-member call :arguments) (listp (plist-get call :arguments))))
           (funcall reply "The arguments are not a JSON object." t))
          (t (condition-case problem
                 (when-let ((result (funcall tool (plist-get call :arguments) reply)))
                   (funcall reply result))
               (error (funcall reply (error-message-string problem) t)))))))

;;; Requests

(defun sidecar--add (client action params provider)
  "Return an entry of CLIENT for ACTION with PARAMS and PROVIDER."
  (let* ((id (cl-incf (sidecar--last-id client)))
         (request (append (list :id id :action action)
                          (and provider (list :provider provider))
                          (list :params params)))
         (entry (make-sidecar--entry :id id :line (concat (sidecar-process-encode request) "\n"))))
    (puthash id entry (sidecar--entries client))))

(defun sidecar--send (client entry)
  "Let CLIENT send the line of ENTRY."
  (setf (sidecar--entry-sent entry) t)
  (sidecar-process-write (sidecar--process client) (sidecar--entry-line entry))
  (setf (sidecar--entry-line entry) nil))

(defun sidecar--settle (client entry)
  "Remove ENTRY from the table of CLIENT; return whether it was there."
  (when (eq (gethash (sidecar--entry-id entry) (sidecar--entries client)) entry)
    (remhash (sidecar--entry-id entry) (sidecar--entries client))
    (mapc #'sidecar--stop (sidecar--entry-timers entry))
    t))

(defun sidecar--fail (client entry failure)
  "End ENTRY of CLIENT with FAILURE, if it has not ended."
  (when (sidecar--settle client entry)
    (sidecar--run client (sidecar--entry-on-error entry) failure)))

(defun sidecar--fail-all (client why)
  "End each entry of CLIENT for which there is a failure by WHY."
  (dolist (entry (sidecar--list-entries client))
    (when-let ((failure (funcall why entry)))
      (sidecar--fail client entry failure))))

(defun sidecar--list-entries (client)
  "Return the entries of CLIENT in the order of their ids."
  (sort (hash-table-values (sidecar--entries client))
        (lambda (left right) (< (sidecar--entry-id left) (sidecar--entry-id right)))))

(defun sidecar--expire (client entry deadline-ms)
  "End ENTRY of CLIENT, which has not ended in DEADLINE-MS."
  (when (and (sidecar--entry-sent entry) (sidecar--process client))
    (sidecar-request client "cancel" (list :id (sidecar--entry-id entry))))
  (sidecar--fail client entry (list :code "timeout" :message (format "No answer in %s ms." deadline-ms)
                                    :phase "total")))

;;; Timers and handlers

(defun sidecar--later (milliseconds function &rest arguments)
  "Call FUNCTION with ARGUMENTS in so many MILLISECONDS."
  (apply #'run-at-time (/ milliseconds 1000.0) nil function arguments))

(defun sidecar--after (client entry milliseconds function argument)
  "Call FUNCTION with CLIENT, ENTRY and ARGUMENT in so many MILLISECONDS.
Not if ENTRY has ended by then."
  (push (sidecar--later milliseconds function client entry argument) (sidecar--entry-timers entry)))

(defun sidecar--stop (timer)
  "Stop TIMER, if it is one."
  (when timer (cancel-timer timer)))

(defun sidecar--run (client handler &rest arguments)
  "Call HANDLER of the host of CLIENT with ARGUMENTS, if there is one."
  (when handler
    (condition-case problem
        (apply handler arguments)
      (error (sidecar--report client (format "A handler has failed: %s" (error-message-string problem)))))))

(defun sidecar--report (client problem)
  "Say PROBLEM to the host of CLIENT."
  (if (sidecar--on-problem client)
      (funcall (sidecar--on-problem client) problem)
    (display-warning 'sidecar problem)))

(provide 'sidecar)
;;; sidecar.el ends here
