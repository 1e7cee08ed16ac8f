package quantity

import (
	"math"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// hostile are values that keep resource.Quantity busy for seconds to hours, or that are
// odd in another way.
var hostile = map[string]any{
	"Huge": "1e20000000", "Huger": "1e2000000000", "Tiny": "1E-999999999", "Tiny2": "1e-20000000", "Zeros": "0." + strings.Repeat("0", 10<<20) + "1",
	"LongMantissa": strings.Repeat("9", 10<<20), "LongExponent": "1e" + strings.Repeat("9", 10<<20), "ZeroHuge": "0e2000000000", "Inf": "Inf", "NaN": "NaN",
	"Exa": "9223372036854775807Ei", "Negative": "-1e20000000", "Float": 1e300, "TinyFloat": 1e-300, "NaNFloat": math.NaN(), "InfFloat": math.Inf(1),
	"Map": map[string]any{"a": "1"}, "List": []any{"1"}, "Nil": nil, "Empty": "", "Sign": "-", "Blank": " 1", "Letters": strings.Repeat("E", 10<<20), "Int": int64(math.MinInt64),
}

func TestNoHostileQuantityTakesLong(t *testing.T) {
	for name, value := range hostile {
		shortest := time.Hour
		for range 5 {
			start := time.Now()
			parsed, ok := Parse(value)
			clamped, isClamped := ParseClamped(value)
			IsOutOfBounds(value)
			if ok {
				sum := Add(Amount(corev1.ResourceCPU, parsed), Amount(corev1.ResourceMemory, parsed))
				_ = Sub(sum, Amount(corev1.ResourcePods, parsed))
				bounded := Clamp(corev1.ResourceCPU, parsed)
				bounded.Add(resource.MustParse("1"))
			}
			if isClamped {
				clamped.Add(resource.MustParse("1"))
			}
			shortest = min(shortest, time.Since(start))
		}
		if shortest > mostTime {
			t.Errorf("%s takes %s", name, shortest)
		}
	}
}

func TestAQuantityThatSomebodyElseHasReadIsClamped(t *testing.T) {
	for text, want := range map[string]int64{"1e20000000": math.MaxInt64, "-1e20000000": math.MinInt64, "0e20000000": 0, "1e2000000000": math.MaxInt64, "9223372036854775807Ei": math.MaxInt64, "1n": 1, "2500m": 3} {
		value, err := resource.ParseQuantity(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := Amount(corev1.ResourceMemory, value); got != want {
			t.Errorf("%s: amount %d, want %d", text, got, want)
		}
		start := time.Now()
		clamped := Clamp(corev1.ResourceMemory, value)
		for range 100 {
			clamped.Add(clamped)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("%s: adding it takes %s", text, took)
		}
	}
}

func TestParseTakesWhatPeopleWrite(t *testing.T) {
	cases := map[string]struct {
		value any
		cpu   int64
		ok    bool
	}{
		"Milli": {"250m", 250, true}, "Whole": {int64(2), 2000, true}, "Fraction": {0.5, 500, true}, "Text": {"1.5", 1500, true}, "Exponent": {"1e3", 1_000_000, true},
		"Nano": {"1n", 1, true}, "Kibi": {"1Ki", 1_024_000, true}, "Point": {".5", 500, true}, "Plus": {"+1", 1000, true}, "LeadingZeros": {"1e00000000003", 1_000_000, true},
		"Negative": {"-1", -1000, true}, "LargestExponent": {"1e99", math.MaxInt64, true}, "TooLargeAnExponent": {"1e100", 0, false}, "Suffix": {"1Zi", 0, false}, "Words": {"much", 0, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			parsed, ok := Parse(tc.value)
			if got := Amount(corev1.ResourceCPU, parsed); ok != tc.ok || got != tc.cpu {
				t.Errorf("%v: %d, %t; want %d, %t", tc.value, got, ok, tc.cpu, tc.ok)
			}
		})
	}
}

func TestSumsEndAtTheLargest(t *testing.T) {
	const most, least = math.MaxInt64, math.MinInt64
	for _, tc := range []struct{ a, b, sum, difference int64 }{
		{1, 2, 3, -1}, {most, 1, most, most - 1}, {most, most, most, 0}, {least, -1, least, least + 1}, {least, least, least, 0}, {most, least, -1, most}, {0, least, least, most}, {-2, most, most - 2, least},
	} {
		if got := Add(tc.a, tc.b); got != tc.sum {
			t.Errorf("%d + %d: %d, want %d", tc.a, tc.b, got, tc.sum)
		}
		if got := Sub(tc.a, tc.b); got != tc.difference {
			t.Errorf("%d - %d: %d, want %d", tc.a, tc.b, got, tc.difference)
		}
	}
}

// mostTime is what a hostile value may take on a busy machine, with the race detector: what it is for takes seconds to
// hours. Alone, all of them are below 10 ms.
const mostTime = 250 * time.Millisecond
