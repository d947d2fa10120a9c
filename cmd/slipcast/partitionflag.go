package main

import (
	"errors"
	"strconv"
)

// A partitionNumber is the value of a flag --partition: 0 until it is given,
// then from 1.
type partitionNumber int

// Set implements pflag.Value.
func (n *partitionNumber) Set(text string) error {
	number, err := strconv.Atoi(text)
	if err != nil || number < 1 {
		return errors.New("want the number of a partition, from 1")
	}
	*n = partitionNumber(number)
	return nil
}

// String implements pflag.Value.
func (n *partitionNumber) String() string {
	if *n == 0 {
		return ""
	}
	return strconv.Itoa(int(*n))
}

// Type implements pflag.Value.
func (n *partitionNumber) Type() string { return "number" }
