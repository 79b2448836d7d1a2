module brokencc

go 1.21
