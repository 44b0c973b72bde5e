// Stands for the types that hosted functions import; nothing of it runs.
export {};
