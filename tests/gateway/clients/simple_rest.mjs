import provider from 'ra-data-simple-rest';
import { drive } from './react_admin.mjs';

await drive(provider);
