module sidecar

go 1.19
