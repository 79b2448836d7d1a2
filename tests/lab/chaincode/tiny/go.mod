module tinycc

go 1.21
