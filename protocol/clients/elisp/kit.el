;;; kit.el --- The driver of the conformance kit  -*- lexical-binding: t; -*-

;;; Commentary:

;; Carries out operations, and reports what happens (protocol/KIT.md).
;; kit.sh runs it, and hands over stdin as descriptor 3: a batch Emacs
;; reads its stdin only when nothing else happens.

;;; Code:

(require 'sidecar)

(setq read-process-output-max (* 1024 1024))

(defvar kit-over nil "Whether the sidecar has ended.")
(defvar kit-calls (make-hash-table :test #'equal) "Id of the kit → id of the client.")

(defun kit-report (event &rest fields)
  "Write the report EVENT with FIELDS."
  (send-string-to-terminal (concat (sidecar-process-encode (append (list :event event) fields)) "\n")))

(defvar kit-client
  (sidecar-make
   :command (list (getenv "SIDECAR_COMMAND"))
   :backoff-ms (string-to-number (or (getenv "SIDECAR_BACKOFF_MS") "1000"))
   :initialize '(:client (:name "kit") :events ["status" "warnings"])
   :on-ready (lambda (data) (kit-report "ready" :protocol_version (plist-get data :protocol_version)))
   :on-event (lambda (data) (kit-report "unsolicited" :data data))
   :on-exit (lambda (code restarting stderr)
              (kit-report "exit" :code (or code :null) :restarting (if restarting t :false) :stderr stderr))
   :on-refused (lambda (failure)
                 (kit-report "refused" :reason (or (plist-get failure :reason) (plist-get failure :code))))
   :on-problem (lambda (problem) (message "%s" problem)))
  "The client under test.")

(defun kit-request (op)
  "Send the request that OP is."
  (let* ((id (plist-get op :id))
         own
         (end (lambda (event key value)
                (when (eql (gethash id kit-calls) own)
                  (remhash id kit-calls))
                (kit-report event :id id key value))))
    (setq own (sidecar-request
               kit-client (plist-get op :action) (plist-get op :params)
               :provider (plist-get op :provider)
               :deadline-ms (plist-get op :deadline_ms)
               :on-chunk (lambda (data) (kit-report "chunk" :id id :data data))
               :on-done (lambda (data) (funcall end "done" :data data))
               :on-error (lambda (failure) (funcall end "error" :error failure))))
    (puthash id own kit-calls)))

(defun kit-close (&rest _)
  "End the sidecar, once."
  (unless (sidecar--closing kit-client)
    (sidecar-close kit-client (lambda () (setq kit-over t)))))

(defun kit-perform (op)
  "Carry out OP."
  (pcase (plist-get op :op)
    ("start" (sidecar-start kit-client))
    ("request" (kit-request op))
    ("cancel" (when-let ((id (gethash (plist-get op :id) kit-calls)))
                (sidecar-cancel kit-client id)))
    ("close" (kit-close))))

(let ((process-adaptive-read-buffering nil)
      (operations (sidecar-process--make
                   :buffer (sidecar-process-make-buffer) :on-line #'kit-perform
                   :on-problem (lambda (problem) (error "%s" problem)))))
  (make-process :name "operations" :command '("sh" "-c" "exec cat <&3") :noquery t
                :connection-type 'pipe :coding 'no-conversion
                :filter (lambda (_process bytes) (sidecar-process--take-bytes operations bytes))
                :sentinel #'kit-close)
  (while (not kit-over)
    (accept-process-output nil 1)))

;;; kit.el ends here
