// Brokencc does not compile, on purpose.
package main

func main() {
	this does not compile
}
