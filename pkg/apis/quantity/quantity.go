// Package quantity reads numbers that tenants and clusters have written. A quantity of
// Kubernetes has no bounds: comparing or adding 1e20000000 takes seconds, 1e2000000000 hours
// and gigabytes, and 1e-2000000000 as much to read. So what comes in is read with bounds, and
// sums are made in integers that end at the largest there is.
package quantity

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Expected says what Parse takes, for messages.
const Expected = "a quantity of at most 64 characters, with an exponent of at most two digits, for instance 500m or 2Gi"

// longest is more than any quantity that means something takes.
const longest = 64

// grammar is that of the doc comment of apimachinery's resource.Quantity, with an exponent
// of two digits at most. The largest that it takes is 62 digits and e99.
var grammar = regexp.MustCompile(`^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?0*[0-9]{1,2})?$`)

// Parse reads a quantity as JSON may hold it, a string or a number. It returns false for
// what is none, and for what is longer than 64 characters or has an exponent of more than
// two digits. It takes less than 10 µs, whatever the value.
func Parse(value any) (resource.Quantity, bool) {
	if number, isInteger := value.(int64); isInteger {
		return *resource.NewQuantity(number, resource.DecimalSI), true
	}
	text, isText := textOf(value)
	if !isText || len(text) > longest || !grammar.MatchString(text) {
		return resource.Quantity{}, false
	}
	quantity, err := resource.ParseQuantity(text)
	return quantity, err == nil
}

// textOf returns a quantity as it would be written, false for what is neither a string nor a
// number with a fraction.
func textOf(value any) (string, bool) {
	switch value := value.(type) {
	case string:
		return value, true
	case float64:
		return strconv.FormatFloat(value, 'g', -1, 64), true
	default:
		return "", false
	}
}

// beyond matches what has an exponent of more than two digits and is larger than everything.
var beyond = regexp.MustCompile(`^\+?[0-9.]*[1-9][0-9.]*[eE]\+?0*[1-9][0-9]{2,}$`)

// number matches whatever looks like the number of a quantity.
var number = regexp.MustCompile(`^[+-]?[0-9.][0-9.eE+-]*[numkMGTPEi]{0,2}$`)

// IsOutOfBounds reports whether a value looks like a quantity, and Parse does not take it.
func IsOutOfBounds(value any) bool {
	text, isText := textOf(value)
	if _, ok := Parse(value); ok || !isText {
		return false
	}
	return len(text) > longest && strings.ContainsAny(text[:1], "+-.0123456789") || number.MatchString(text)
}

// ParseClamped is Parse, but for what is too large: that is math.MaxInt64.
func ParseClamped(value any) (resource.Quantity, bool) {
	if text, isText := textOf(value); isText && len(text) <= longest && beyond.MatchString(text) {
		return *resource.NewQuantity(math.MaxInt64, resource.DecimalSI), true
	}
	return Parse(value)
}

// Amount returns a quantity in the unit that its resource is counted in: CPU in thousandths
// of one, all else in whole ones (memory in bytes), rounded up. What is more than an int64
// holds is math.MaxInt64, and what is less is math.MinInt64. It makes no sums with the
// quantity, which may have been read by somebody who knows no bounds.
func Amount(name corev1.ResourceName, quantity resource.Quantity) int64 {
	scale, unit := resource.Scale(0), 1.0
	if name == corev1.ResourceCPU {
		scale, unit = resource.Milli, 1000
	}
	switch approximate := quantity.AsApproximateFloat64() * unit; {
	case math.IsNaN(approximate):
		return 0 // 0 times ten to the power of too much
	case approximate >= math.MaxInt64:
		return math.MaxInt64
	case approximate <= math.MinInt64:
		return math.MinInt64
	default:
		return quantity.ScaledValue(scale)
	}
}

// Of returns the quantity of so many of the resource's units: the other way round of
// Amount. The zero is that of its unit, too.
func Of(name corev1.ResourceName, amount int64) resource.Quantity {
	switch name {
	case corev1.ResourceCPU:
		return *resource.NewMilliQuantity(amount, resource.DecimalSI)
	case corev1.ResourceMemory:
		return *resource.NewQuantity(amount, resource.BinarySI)
	default:
		return *resource.NewQuantity(amount, resource.DecimalSI)
	}
}

// Clamp returns the quantity as it is if its amount is within an int64, else the largest or
// smallest such. What it returns can be added and compared in no time.
func Clamp(name corev1.ResourceName, quantity resource.Quantity) resource.Quantity {
	switch amount := Amount(name, quantity); amount {
	case math.MaxInt64, math.MinInt64, 0: // 0e20000000 has an exponent, too
		return Of(name, amount)
	default:
		return quantity
	}
}

// Add returns the sum of two amounts, and the largest or smallest int64 where it is beyond.
func Add(a, b int64) int64 {
	sum := a + b
	switch {
	case a > 0 && b > 0 && sum < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && sum >= 0:
		return math.MinInt64
	default:
		return sum
	}
}

// Sub returns the difference of two amounts, within an int64 as Add does.
func Sub(a, b int64) int64 {
	if b == math.MinInt64 {
		return Add(Add(a, math.MaxInt64), 1)
	}
	return Add(a, -b)
}
