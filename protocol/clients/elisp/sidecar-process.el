;;; sidecar-process.el --- One process of the sidecar  -*- lexical-binding: t; -*-

;;; Commentary:

;; Its three pipes, its lines, and its end.

;;; Code:

(require 'cl-lib)
(require 'json)

(defconst sidecar-process--stderr-characters 8192)
(defconst sidecar-process--drain-s 1
  "How long what has inherited the pipes of a process may hold them open.")
(defconst sidecar-process--mute-s 0.2
  "How long a process may live on when its stdout has ended.")

(defconst sidecar-process--spawn "exec \"$@\" 3>&1 1>&2 2>&3 3>&-"
  "What the shell runs: the program, with its stdout and stderr exchanged.
Emacs does not say when the stdout of a process has ended, unless
the process itself has; of a pipe for stderr, it does.")

(cl-defstruct (sidecar-process (:constructor sidecar-process--make) (:copier nil))
  "A process." handle pipe buffer (scanned 1) reading (errors "") (open 2) closed on-line on-end on-problem)

;;; JSON

(defun sidecar-process--parse ()
  "Read the JSON at point, with the slow reader if the fast one cannot."
  (let ((start (point)))
    (condition-case nil
        (prog1 (json-parse-buffer :object-type 'plist :null-object :null :false-object :false)
          (skip-chars-forward " \t\r")
          (unless (eobp) (signal 'json-error nil)))
      ;; It has integers of any size, and the character 0.
      (json-error
       (let ((json-object-type 'plist) (json-array-type 'vector) (json-key-type 'keyword)
             (json-null :null) (json-false :false))
         (json-read-from-string
          (decode-coding-string (buffer-substring start (point-max)) 'utf-8-unix)))))))

(defun sidecar-process-encode (value)
  "Return VALUE as JSON on one line, in bytes.
Objects are plists with keywords, lists are vectors, null and false
are `:null' and `:false'.  Nil is an empty object."
  (encode-coding-string
   (condition-case nil
       (json-serialize value :null-object :null :false-object :false)
     (args-out-of-range (sidecar-process--print value)))
   'utf-8-unix))

(defun sidecar-process--print (value)
  "Return VALUE as JSON; its integers may have any size."
  (cond ((integerp value) (number-to-string value))
        ((vectorp value) (concat "[" (mapconcat #'sidecar-process--print value ",") "]"))
        ((consp value)
         (concat "{" (cl-loop for (key each) on value by #'cddr
                              concat (format "%s%s:%s" (if (eq key (car value)) "" ",")
                                             (json-serialize (substring (symbol-name key) 1))
                                             (sidecar-process--print each)))
                 "}"))
        (t (json-serialize value :null-object :null :false-object :false))))

;;; Reading

(defun sidecar-process-make-buffer ()
  "Return a buffer for bytes."
  (with-current-buffer (generate-new-buffer " *sidecar*" t)
    (set-buffer-multibyte nil)
    (buffer-disable-undo)
    (current-buffer)))

(defun sidecar-process--take-bytes (process bytes)
  "Take BYTES of the stdout of PROCESS, in whatever pieces they come.
It cuts at the byte LF alone."
  (when (buffer-live-p (sidecar-process-buffer process))
    (with-current-buffer (sidecar-process-buffer process)
      (goto-char (point-max))
      (insert bytes))
    ;; A handler that waits lets more bytes come: they wait for it.
    (unless (sidecar-process-reading process)
      (setf (sidecar-process-reading process) t)
      (unwind-protect
          (let (line)
            (while (setq line (sidecar-process--next-line process))
              (unless (eq line 'blank)
                (funcall (sidecar-process-on-line process) line))))
        (setf (sidecar-process-reading process) nil)))))

(defun sidecar-process--next-line (process)
  "Return the next line of PROCESS, `blank' for one to skip, or nil."
  (when (buffer-live-p (sidecar-process-buffer process))
    (with-current-buffer (sidecar-process-buffer process)
      ;; Before point, everything is read; what is read is deleted when all is.
      (goto-char (max (point-min) (sidecar-process-scanned process)))
      (if (not (search-forward "\n" nil t))
          (progn (setf (sidecar-process-scanned process) (point-max)) nil)
        (let ((end (point)) line)
          (save-restriction
            (narrow-to-region (point-min) (1- end))
            (goto-char (point-min))
            (skip-chars-forward " \t\r")
            (setq line (cond ((eobp) 'blank)
                             ((condition-case nil (sidecar-process--parse) (error nil)))
                             (t (funcall (sidecar-process-on-problem process)
                                         "The sidecar has written a line that is no JSON.")
                                'blank))))
          (delete-region (point-min) end)
          (setf (sidecar-process-scanned process) (point-min))
          line)))))

;;; The process

(defun sidecar-process-start (command on-line on-end on-problem)
  "Start COMMAND, a list of a program and its arguments.
ON-LINE gets each line of its stdout, parsed.  ON-END gets the exit
code, nil after a signal, and the last of stderr, once the process has
ended and its output is read.  ON-PROBLEM gets a text about a line
that is no JSON.  If COMMAND cannot be started, signal an error."
  (unless (executable-find (car command))
    (signal 'file-missing (list "Searching for program" "No such file or directory" (car command))))
  (let* ((process-adaptive-read-buffering nil)
         (process (sidecar-process--make :buffer (sidecar-process-make-buffer)
                                         :on-line on-line :on-end on-end :on-problem on-problem)))
    (setf (sidecar-process-pipe process)
          (make-pipe-process
           :name "sidecar stdout" :buffer nil :noquery t :coding 'no-conversion
           :filter (lambda (_pipe bytes) (sidecar-process--take-bytes process bytes))
           :sentinel (lambda (_pipe _event) (sidecar-process--end-stdout process))))
    (setf (sidecar-process-handle process)
          (make-process
           :name "sidecar" :buffer nil :noquery t :connection-type 'pipe :coding 'no-conversion
           :command (append (list "/bin/sh" "-c" sidecar-process--spawn "sh") command)
           :stderr (sidecar-process-pipe process)
           :filter (lambda (_handle bytes) (sidecar-process--take-errors process bytes))
           :sentinel (lambda (_handle _event) (sidecar-process--end process))))
    process))

(defun sidecar-process--take-errors (process bytes)
  "Keep the last of BYTES, which PROCESS has written for people."
  (let ((all (concat (sidecar-process-errors process) bytes)))
    (setf (sidecar-process-errors process)
          (substring all (max 0 (- (length all) sidecar-process--stderr-characters))))))

(defun sidecar-process--end-stdout (process)
  "Note that the stdout of PROCESS has ended.
It can answer nothing any more, and may never end by itself."
  (run-at-time sidecar-process--mute-s nil
               (lambda ()
                 (unless (sidecar-process-closed process)
                   (sidecar-process-signal process 'SIGKILL))))
  (sidecar-process--count-down process))

(defun sidecar-process--end (process)
  "Note that PROCESS has ended, if it has."
  (unless (process-live-p (sidecar-process-handle process))
    (run-at-time sidecar-process--drain-s nil #'sidecar-process--count-down process t)
    (sidecar-process--count-down process)))

(defun sidecar-process--count-down (process &optional at-once)
  "Finish PROCESS when both it and its stdout have ended, or AT-ONCE."
  (when (> (sidecar-process-open process) 0)
    (cl-decf (sidecar-process-open process))
    (when (or at-once (= (sidecar-process-open process) 0))
      (setf (sidecar-process-open process) 0)
      (let ((handle (sidecar-process-handle process)))
        (delete-process (sidecar-process-pipe process))
        (kill-buffer (sidecar-process-buffer process))
        (funcall (sidecar-process-on-end process)
                 (and (eq (process-status handle) 'exit) (process-exit-status handle))
                 (decode-coding-string (sidecar-process-errors process) 'utf-8-unix))))))

(defun sidecar-process-write (process line)
  "Send LINE, in bytes, to PROCESS.
While it does not read, Emacs reads what it writes."
  ;; The end of the process says more than this error.
  (ignore-errors (process-send-string (sidecar-process-handle process) line)))

(defun sidecar-process-close-stdin (process)
  "Say to PROCESS that there are no more requests."
  (unless (sidecar-process-closed process)
    (setf (sidecar-process-closed process) t)
    (ignore-errors (process-send-eof (sidecar-process-handle process)))))

(defun sidecar-process-signal (process signal)
  "Send SIGNAL to PROCESS unless it has ended."
  (when (process-live-p (sidecar-process-handle process))
    (signal-process (sidecar-process-handle process) signal)))

(provide 'sidecar-process)
;;; sidecar-process.el ends here
