/*
 * button - what a guest does whose power button is pressed
 *
 * It enables the button, says so, and polls: a press powers it off.  With the
 * argument "deaf" it enables nothing, with "stubborn" it sees the press and
 * stays.
 */
#include "lib.h"

#define PWRBTN	  0x100
#define POWER_OFF 0x2000

int main(uint64_t info);

int main(uint64_t info)
{
	char how = *ARGUMENTS;

	(void)info;
	if (how != 'd')
		outw(PM1 + 2, PWRBTN);
	print("ready\n");
	while (!(inl(PM1) & PWRBTN))
		;
	outw(PM1, PWRBTN);
	print("pressed\n");
	while (how == 's')
		inl(PM_TMR);
	outw(PM1_CNT, POWER_OFF);
	return 0;
}
