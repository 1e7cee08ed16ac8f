package protocol

import "testing"

func TestOwnPartition(t *testing.T) {
	cases := map[string]struct {
		annotation      string
		partition, want int64
	}{
		"a part of the partition": {"1/3", 3, 1},
		"none of it":              {"0/3", 3, 0},
		"smaller than it was: what was rolled out stays so":  {"1/3", 2, 1},
		"as small as the part":                               {"1/3", 1, 1},
		"smaller than the part: no cluster leaves more":      {"2/3", 1, 1},
		"none any more":                                      {"2/3", 0, 0},
		"larger than it was: as much as any new part may be": {"1/3", 4, 4},
		"without a part: the whole":                          {"", 3, 3},
		"one number: what cannot be read is none":            {"1", 3, 3},
		"negative":                        {"-1/3", 3, 3},
		"of a negative one":               {"1/-3", 3, 3},
		"words":                           {"one/three", 3, 3},
		"more than there can be replicas": {"1/2147483648", 3, 3},
		"three numbers":                   {"1/2/3", 3, 3},
		"more than the whole: no more than what the user says": {"7/3", 3, 3},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := object()
			if tc.annotation != "" {
				part(tc.annotation)(obj)
			}
			if got := Read(obj).OwnPartition("east", tc.partition); got != tc.want {
				t.Errorf("%q of %d is %d, want %d", tc.annotation, tc.partition, got, tc.want)
			}
		})
	}
}
