/* __fastfail(7): what abort() of the universal C runtime does. No handler sees it. */
int wmain(void) {
  __asm__ volatile("int $0x29" : : "c"(7));
  return 0;
}
