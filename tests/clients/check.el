;;; check.el --- Byte-compiles files, and checks their comments  -*- lexical-binding: t; -*-

;; emacs --batch -Q -L FOLDER -l check.el FILES: ends with an error at the first warning.

(require 'checkdoc)

(setq byte-compile-error-on-warn t)
(dolist (file command-line-args-left)
  ;; What is generated is a table, whose words the rules for sentences take for messages.
  (unless (string-suffix-p "-types.el" file)
    (with-current-buffer (find-file-noselect file)
      (let ((checkdoc-create-error-function
             (lambda (text start &rest _) (error "%s:%d: %s" file (line-number-at-pos start) text))))
        (checkdoc-current-buffer t))))
  (unless (byte-compile-file file)
    (kill-emacs 1)))
(kill-emacs 0)
