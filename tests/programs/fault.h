/* prepare_fault prints "TID FAULT MAPPING": who will fault, in which function, and for SIGBUS where. */
void prepare_fault(int number);
void fault(int number);
