#include "textflag.h"

// func clockGettime()
//
// int clock_gettime(clockid_t DI, struct timespec *SI), as C calls it: BX, BP and R12 to R15 stay as they are.
TEXT ·clockGettime(SB), NOSPLIT|NOFRAME, $0-0
	PUSHQ	SI
	PUSHQ	DI
	SUBQ	$8, SP // the stack is aligned to 16 bytes where C calls
	MOVQ	·original(SB), AX
	CALL	AX
	ADDQ	$8, SP
	POPQ	DI
	POPQ	SI
	CMPL	DI, $0 // CLOCK_REALTIME
	JNE	done
	MOVQ	·offset(SB), CX
	ADDQ	CX, 0(SI)
done:
	RET

// func addressOf() uintptr
TEXT ·addressOf(SB), NOSPLIT, $0-8
	LEAQ	·clockGettime(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
