;;; host.el --- A host over the client for Emacs  -*- lexical-binding: t; -*-

;; It streams, runs a tool, cancels, and outlives its sidecar. Run it with
;; emacs --batch -Q -L protocol/clients/elisp -l examples/host.el
;; Put a real provider in place of `replay' and nothing else changes.

(require 'sidecar)

(defun ask (model)
  (list :model model :messages [(:role "user" :content "Hello")] :options '(:tool_loop nil)))

(defun show (&rest arguments)
  (princ (apply #'format arguments)))

(defvar client
  (sidecar-make :on-exit (lambda (_code restarting _stderr)
                           (show "[ended, restarting: %s]\n" (if restarting "true" "false")))))

(defun stop-slow-answer (stop)
  (let (id ended)
    (setq id (sidecar-request
              client "stream_chat" (ask "replay/slow")
              :on `(("content" . ,(lambda (_chunk) (funcall stop client id))))
              :on-error (lambda (failure) (setq ended (show "[%s]\n" (plist-get failure :code))))))
    (while (not ended)
      (accept-process-output nil 0.1))))

(sidecar-start client)
(let ((done (sidecar-call
             client "stream_chat" (ask "replay/tool_call")
             :on `(("content" . ,(lambda (chunk) (show "%s" (plist-get chunk :content)))))
             :tools `(("weather" . ,(lambda (arguments _reply)
                                      (format "4 degrees in %s" (plist-get arguments :city))))))))
  (show "\n[%s, rounds: %d]\n" (plist-get done :finish_reason) (length (plist-get done :rounds))))
(stop-slow-answer #'sidecar-cancel)
(stop-slow-answer (lambda (client _id) (sidecar-kill client)))
(show "%S\n" (sidecar-call client "ping" nil :deadline-ms 10000))
(sidecar-close client #'kill-emacs)
(while t (accept-process-output nil 1))
