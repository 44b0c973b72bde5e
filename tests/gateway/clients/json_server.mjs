import provider from 'ra-data-json-server';
import { drive } from './react_admin.mjs';

await drive(provider);
