"""How Shoplake gets onto other machines than this one."""
