// Drives refine's simple-rest data provider through what a screen does, and prints what it saw as JSON.
import refine, { axiosInstance } from '@refinedev/simple-rest';

const { GATEWAY_URL: url, GATEWAY_TOKEN: token } = process.env;
axiosInstance.defaults.headers.common.Authorization = `Bearer ${token}`;
const provider = refine(`${url}/api/v1`, axiosInstance);
const names = ({ data }) => data.map(row => row.companyName);
const failure = async call => {
    try {
        await call();
        return null;
    } catch (error) {
        return { status: error.statusCode, message: error.message, errors: error.response?.data?.errors };
    }
};
const works = { field: 'q', operator: 'eq', value: 'works' };
const byName = [{ field: 'companyName', order: 'asc' }];
const list = (filters, sorters = byName, pagination = { currentPage: 1, pageSize: 25 }) =>
    provider.getList({ resource: 'customers', filters, sorters, pagination });

const seen = {};
const created = [];
for (const [companyName, city, status] of [
    ['Alpha Works', 'Aarhus', 'active'],
    ['Beta Works', 'Bergen', 'lead'],
    ['Gamma Works', 'Aarhus', 'active'],
]) {
    created.push((await provider.create({ resource: 'customers', variables: { companyName, city, status } })).data);
}
const ids = created.map(row => row.id);
seen.created = created.map(row => [row.companyName, row.version, row.tenantId]);

const first = await list([works], byName, { currentPage: 1, pageSize: 2 });
seen.firstPage = [names(first), first.total];
const second = await list([works], byName, { currentPage: 2, pageSize: 2 });
seen.secondPage = [names(second), second.total];
const past = await list([works], byName, { currentPage: 9, pageSize: 2 });
seen.pastTheEnd = [names(past), past.total];
const off = await provider.getList({ resource: 'customers', filters: [works], pagination: { mode: 'off' } });
seen.withoutPaging = [off.data.length, off.total];
seen.descending = names(await list([works], [{ field: 'companyName', order: 'desc' }]));
seen.twoSorters = names(await list([works], [{ field: 'city', order: 'desc' }, { field: 'companyName', order: 'asc' }]));
seen.byField = names(await list([works, { field: 'city', operator: 'eq', value: 'Aarhus' }]));
seen.byList = names(await list([works, { field: 'city', operator: 'eq', value: ['Bergen', 'Oslo'] }]));
seen.byTwoFields = names(await list([
    works, { field: 'city', operator: 'eq', value: 'Aarhus' }, { field: 'status', operator: 'eq', value: 'lead' },
]));
seen.byOperator = names(await list([
    works, { field: 'companyName', operator: 'gte', value: 'B' }, { field: 'companyName', operator: 'lte', value: 'C' },
]));
seen.notEqual = names(await list([works, { field: 'city', operator: 'ne', value: 'Aarhus' }]));
seen.contains = names(await list([{ field: 'companyName', operator: 'contains', value: 'mma Wor' }]));
seen.unknownField = await failure(() => list([{ field: 'colour', operator: 'eq', value: 'red' }]));

seen.one = (await provider.getOne({ resource: 'customers', id: ids[0] })).data.companyName;
seen.missing = await failure(() => provider.getOne({ resource: 'customers', id: '01900000-0000-7000-8000-00000000dead' }));
seen.many = names(await provider.getMany({
    resource: 'customers', ids: [ids[2], '01900000-0000-7000-8000-00000000dead', ids[0]],
}));
const updated = await provider.update({ resource: 'customers', id: ids[1], variables: { city: 'Bodø' } });
seen.updated = [updated.data.city, updated.data.companyName, updated.data.version];
seen.fieldErrors = await failure(() =>
    provider.create({ resource: 'customers', variables: { companyName: '', email: 'nowhere', status: 'asleep' } }));
seen.updateErrors = await failure(() =>
    provider.update({ resource: 'customers', id: ids[1], variables: { size: 'vast' } }));
const deleted = await provider.deleteOne({ resource: 'customers', id: ids[1] });
seen.deleted = deleted.data.companyName;
seen.afterDelete = names(await list([works]));
// refine deletes many by deleting each, where a provider has no deleteMany.
const gone = await Promise.all([ids[0], ids[2]].map(id => provider.deleteOne({ resource: 'customers', id })));
seen.deletedMany = gone.length;
seen.afterDeleteMany = names(await list([works]));
console.log(JSON.stringify(seen));
